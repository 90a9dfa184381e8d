import { deliveryId } from './call-id.ts';
import {
  noDeadline,
  type ActionEvent,
  type RawHeaders,
  type RetryPolicy,
  type ToldCall,
  type TraceContext,
} from './call.ts';

/**
 * Broadcast events: events with any number of subscribers and no answer.
 *
 * To the service that subscribed, an event is an HTTP request like any other. So a *delivery* is presented as an action
 * event, made of the stored event and of what the subscription says about where it goes; whatever replays actions
 * delivers events, too.
 */

/** The stored event. Times are ms since the epoch. */
export interface BroadcastEvent {
  readonly id: string;
  /** Words with dots between them. */
  readonly topic: string;
  /** The service that published it. */
  readonly publisher: string;
  /** The publisher's route. */
  readonly route: string;
  /** The header fields of the request that belong to the event; see {@link eventHeaders}. */
  readonly headers: RawHeaders;
  readonly body: Uint8Array;
  readonly hasBody: boolean;
  readonly at: number;
  /** Digest of target, content type and body: what "the same request" means under one key. */
  readonly fingerprint: string;
  /** The finished call that it tells of; the body is one CloudEvents JSON event then. */
  readonly call?: ToldCall;
  readonly trace?: TraceContext;
}

/** Where a subscription wants its events, and how often they are tried. Follows the configuration, also for events stored before. */
export interface DeliveryTarget {
  readonly method: string;
  /** Request target in origin form. */
  readonly path: string;
  readonly retry: RetryPolicy;
}

/** A durable subscription, as the broker knows it. */
export interface SubscriptionName {
  readonly service: string;
  readonly subscription: string;
}

/** What a subscriber's answer may weigh, bytes. Nobody reads it: only its status counts. */
const maxAnswer = 64 * 1024;

/** Fields that speak of the exchange with the publisher's sidecar, or are for its eyes only. `accept…` aside. */
const notOfTheEvent: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'authorization',
  'cookie',
  'origin',
  'referer',
  'user-agent',
  'prefer',
  'trailer',
  'idempotency-key',
  'traceparent',
  'tracestate',
  // A broadcast has one of each of its own.
  'ce-id',
  'ce-source',
  'ce-specversion',
  'ce-time',
  'ce-type',
]);

/**
 * The fields of a request that go to the subscribers with its body: content type and encoding, CloudEvents extensions, the
 * application's own. Credentials are for the one who was addressed, and no subscriber was.
 *
 * @param endToEnd the end-to-end fields of the request
 */
export function eventHeaders(endToEnd: RawHeaders): RawHeaders {
  const kept: string[] = [];
  for (let at = 0; at < endToEnd.length; at += 2) {
    const name = endToEnd[at]!.toLowerCase();
    if (!notOfTheEvent.has(name) && !name.startsWith('accept')) kept.push(endToEnd[at]!, endToEnd[at + 1]!);
  }
  return kept;
}

/**
 * The delivery of an event to a subscription, in CloudEvents 1.0 binary mode (HTTP binding §3.1). Its id is the same
 * each time. It has no deadline: the event's retention is the limit.
 *
 * @param orderKey deliveries with the same one are made one after another
 */
export function deliveryOf(
  event: BroadcastEvent,
  { service, subscription }: SubscriptionName,
  target: DeliveryTarget,
  orderKey?: string,
): ActionEvent {
  return {
    id: deliveryId(event.id, service, subscription),
    round: 1,
    caller: event.publisher,
    service,
    route: subscription,
    method: target.method,
    target: target.path,
    headers: deliveredHeaders(event),
    trailers: [],
    body: event.body,
    hasBody: event.hasBody,
    acceptedAt: event.at,
    deadline: noDeadline,
    // At least once is the promise; who needs exactly once has `ce-id`.
    idempotent: true,
    retry: target.retry,
    keyed: false,
    fingerprint: event.fingerprint,
    maxBody: maxAnswer,
    earlier: [],
    delivery: {
      subscription,
      event: event.id,
      topic: event.topic,
      ...(event.call !== undefined && { call: event.call }),
    },
    ...(orderKey !== undefined && { orderKey }),
    ...(event.trace !== undefined && { trace: event.trace }),
  };
}

/** The fields of an event and its attributes, which are in the body in structured mode (HTTP binding §3.2). */
export function deliveredHeaders(event: BroadcastEvent): RawHeaders {
  return event.call === undefined ? [...event.headers, ...cloudEventHeaders(event)] : event.headers;
}

/** A delivery that is made again, as the subscription wants it now. */
export function redirected(action: ActionEvent, { method, path, retry }: DeliveryTarget): ActionEvent {
  return { ...action, method, target: path, retry };
}

function cloudEventHeaders({ id, publisher, topic, at }: BroadcastEvent): string[] {
  const attributes = {
    'ce-specversion': '1.0',
    'ce-id': id,
    'ce-source': `/services/${publisher}`,
    'ce-type': topic,
    'ce-time': new Date(at).toISOString(),
  };
  return Object.entries(attributes).flat();
}
