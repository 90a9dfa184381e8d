/** The topics of the broadcasts that callers publish. */
export const topics = ['order.paid', 'order.sent', 'order.paid.late'] as const;

/** What is subscribed to in the system. */
interface Subscribed {
  readonly service: 'payments' | 'audit';
  /** As the configuration names it. */
  readonly topic: string;
  /** The topics that this must match. */
  readonly wants: readonly string[];
  /** Attempts of a round. */
  readonly attempts: number;
}

/** The subscriptions to broadcasts, by name: what the configurations are made of and what the checker expects. */
export const subscriptions = {
  /** Two instances share the work. */
  shared: { service: 'payments', topic: 'order.**', wants: topics, attempts: 6 },
  /** Its service declines the first attempts of some events, of a few so often that they become dead letters. */
  fussy: { service: 'payments', topic: 'order.paid', wants: ['order.paid'], attempts: 4 },
  /** Its service is away for a part of the run. */
  archive: { service: 'audit', topic: 'order.*', wants: ['order.paid', 'order.sent'], attempts: 6 },
} as const satisfies Record<string, Subscribed>;

export type SubscriptionName = keyof typeof subscriptions;

/** The subscription of `audit` to the calls of `payments`. */
export const callFeed = 'calls';
/** Where a subscription's events go at its service, by its name. */
const eventsPath = '/events/';
/** Where the answers of calls with a `callback` go at the callers' own service. */
export const callbackPath = '/outcomes';

const retry = (attempts: number) => ({ attempts, backoff: '50ms..1s' });

/** The `subscribe` section of a service. @param without a subscription that is left out */
export function subscribe(service: Subscribed['service'], url: string, without?: SubscriptionName): object[] {
  const common = (name: string) => ({ name, to: `POST ${eventsPath}${name}`, from: 'first', url, timeout: '3s' });
  const own = Object.entries(subscriptions)
    .filter(([name, subscription]) => subscription.service === service && name !== without)
    .map(([name, { topic, attempts }]) => ({ ...common(name), topic, retry: retry(attempts) }));
  const feed = { ...common(callFeed), call: { service: 'payments' }, retry: retry(6) };
  return service === 'audit' ? [...own, feed] : own;
}

/** The name of the subscription that a request is a delivery of; undefined for any other request. */
export function subscriptionAt(path: string): string | undefined {
  return path.startsWith(eventsPath) ? path.slice(eventsPath.length) : undefined;
}

/** Every durable subscription of the system, as `service/name`. */
export function everySubscription(): string[] {
  const broadcasts = Object.entries(subscriptions).map(([name, { service }]) => `${service}/${name}`);
  return [...broadcasts, `audit/${callFeed}`];
}

/** How many attempts of an event the service behind `fussy` declines: of each event the same number. */
export function declines(token: string): number {
  let hash = 0;
  for (const letter of token) hash = (Math.imul(hash, 31) + letter.charCodeAt(0)) >>> 0;
  return [0, 0, 1, 2, 0, 6][hash % 6] ?? 0;
}
