import { digestOf, type Delivered, type Reported, type Told } from './broadcast-history.ts';
import { callbackPath, callFeed, declines, subscriptionAt } from './subscriptions.ts';

/** A request as it came to a service. */
export interface Incoming {
  readonly path: string;
  /** A header's value, empty where it is not there. */
  readonly header: (name: string) => string;
  readonly body: Buffer;
  /** The process. */
  readonly service: string;
  readonly behaviour: string;
}

/**
 * What a subscriber writes down of a delivery; undefined for a request that is none.
 * @param willing the service would take it, as far as its present behaviour goes
 */
export function receiptOf(incoming: Incoming, willing: boolean): Delivered | Reported | Told | undefined {
  const { path, header, service, behaviour } = incoming;
  const attempt = Number(header('holdline-attempt'));
  const received = { at: Date.now(), service, attempt, behaviour };
  if (path === callbackPath) return { ...outcomeOf(incoming), ...received, taken: willing };
  const subscription = subscriptionAt(path);
  if (subscription === undefined) return undefined;
  const delivery = header('holdline-call-id');
  if (subscription === callFeed) return { ...reportOf(incoming), ...received, delivery, taken: willing };
  const token = header('x-token');
  return {
    type: 'delivered',
    ...received,
    delivery,
    taken: willing && (subscription !== 'fussy' || attempt > declines(token)),
    subscription,
    token,
    event: header('ce-id'),
    topic: header('ce-type'),
    source: header('ce-source'),
    time: header('ce-time'),
    digest: digestOf(header('content-type'), incoming.body),
  };
}

/** The answer of a call, in its `callback`. */
function outcomeOf({
  header,
  body,
}: Incoming): Pick<Told, 'type' | 'call' | 'delivery' | 'status' | 'nonce' | 'error'> {
  const nonce = header('x-nonce');
  const isProblem = header('content-type').startsWith('application/problem+json');
  return {
    type: 'told',
    call: header('holdline-call-id'),
    delivery: header('idempotency-key'),
    status: Number(header('holdline-status')),
    ...(nonce !== '' && { nonce }),
    ...(isProblem && { error: (JSON.parse(body.toString()) as { type: string }).type.split(':').at(-1) ?? '' }),
  };
}

interface FeedEvent {
  readonly id: string;
  readonly data: {
    readonly call: { readonly id: string; readonly outcome: string };
    readonly response: { readonly status: number; readonly headers: Readonly<Record<string, string>> };
  };
}

/** A finished call of another service, in the call feed. */
function reportOf({ body }: Incoming): Pick<Reported, 'type' | 'event' | 'call' | 'outcome' | 'status' | 'nonce'> {
  const { id, data } = JSON.parse(body.toString()) as FeedEvent;
  const nonce = data.response.headers['x-nonce'];
  return {
    type: 'reported',
    event: id,
    call: data.call.id,
    outcome: data.call.outcome,
    status: data.response.status,
    ...(nonce !== undefined && { nonce }),
  };
}
