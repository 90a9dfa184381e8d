import { createHash } from 'node:crypto';

/* What is recorded of broadcasts, of call feeds and of callbacks. Times are ms since the epoch. */

export type BroadcastHistoryEvent =
  | Publish
  | Published
  | Delivered
  | Reported
  | Told
  | Undelivered
  | Redelivered
  | Subscribed;

/** A caller is about to send a request that is to become a broadcast event; written before the first byte. */
export interface Publish {
  readonly type: 'publish';
  readonly at: number;
  readonly token: string;
  readonly exchange: string;
  readonly via: string;
  readonly key?: string;
  readonly topic: string;
  /** See {@link digestOf}. */
  readonly digest: string;
}

/** The caller was told that its event is stored. */
export interface Published {
  readonly type: 'published';
  readonly at: number;
  readonly token: string;
  readonly exchange: string;
  readonly event: string;
  readonly topic: string;
}

/** What any subscriber writes down before it answers. */
interface Received {
  readonly at: number;
  /** The process. */
  readonly service: string;
  /** The same for each attempt of one delivery. */
  readonly delivery: string;
  readonly attempt: number;
  /** Whether it answers 2xx, if that answer finds its way. */
  readonly taken: boolean;
  readonly behaviour: string;
}

/** A subscriber had an event. */
export interface Delivered extends Received {
  readonly type: 'delivered';
  readonly subscription: string;
  /** The `X-Token` of the publisher's request. */
  readonly token: string;
  /** `ce-id` and the other attributes. */
  readonly event: string;
  readonly topic: string;
  readonly source: string;
  readonly time: string;
  /** See {@link digestOf}. */
  readonly digest: string;
}

/** The subscriber of the call feed had a finished call of another service. */
export interface Reported extends Received {
  readonly type: 'reported';
  readonly event: string;
  readonly call: string;
  readonly outcome: string;
  readonly status: number;
  /** What the answer says of the execution that made it. */
  readonly nonce?: string;
}

/** The callers' own service had the answer of a call: a `callback`. */
export interface Told extends Received {
  readonly type: 'told';
  readonly call: string;
  readonly status: number;
  readonly nonce?: string;
  /** Of an answer that Holdline made: which problem it is. */
  readonly error?: string;
}

/** A dead letter of a subscription, or of a callback. */
export interface Undelivered {
  readonly type: 'undelivered';
  readonly at: number;
  readonly delivery: string;
  /** `service/name` of the subscription, or `callback`. */
  readonly to: string;
  readonly event?: string;
  readonly reason: string;
  /** When it died. */
  readonly died: number;
}

/** An operator replayed the dead letter of a delivery. */
export interface Redelivered {
  readonly type: 'redelivered';
  readonly at: number;
  readonly delivery: string;
}

/** What the list of subscriptions says of one at the end. */
export interface Subscribed {
  readonly type: 'subscribed';
  readonly at: number;
  /** `service/name` */
  readonly subscription: string;
  readonly state: string;
  readonly waiting: number;
}

/** Digest of what a subscriber must get as it was sent: the type of the content, and the body. */
export function digestOf(contentType: string, body: string | Uint8Array): string {
  return createHash('sha256').update(`${contentType}\n`).update(body).digest('hex').slice(0, 32);
}
