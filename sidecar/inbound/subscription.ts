import type { Broker, SubscriptionTaking } from '../broker/port.ts';
import type { InboundConfig, SubscriptionConfig } from '../config/config.ts';
import type { DeliveryTarget } from '../model/broadcast.ts';
import { createInbound, type Inbound, type InboundState } from './inbound.ts';

/** Deliveries that run at once where no inbound entry says how many calls the service can take. */
const defaultConcurrency = 64;

/** The deliveries of one subscription of the local service: event → attempt → settled, or a dead letter of the subscription. */
export interface Subscription {
  readonly name: string;
  start(): void;
  /**
   * Puts `config` in the place of the configuration; attempts under way go on as they began.
   * @returns false where it is another subscription in all but its name, which must be made anew
   * @throws Error for a TLS file that cannot be read; the old configuration goes on then
   */
  reconfigure(config: SubscriptionConfig, inbound: readonly InboundConfig[]): boolean;
  /** As {@link Inbound.drain}. Its position stays at the broker. */
  drain(limitMs: number): Promise<void>;
  state(): InboundState;
  backlog: Inbound['backlog'];
}

export interface SubscriptionOptions {
  /** The service that subscribed. */
  readonly service: string;
  readonly config: SubscriptionConfig;
  /** An entry with the same url says how the service is reached, and what it can take. */
  readonly inbound: readonly InboundConfig[];
  readonly instance: string;
  readonly broker: Broker;
}

/**
 * Makes the delivering side of one subscription. It is the inbound side of a service in all but where it takes from, with slots and a
 * gate of its own.
 * @throws Error for a TLS file that cannot be read
 */
export function createSubscription({ service, config, inbound, instance, broker }: SubscriptionOptions): Subscription {
  const { name, topic, from } = config;
  if (topic === undefined) throw new TypeError(`the subscription ${name} has no topic`);
  let target = targetOf(config);
  let taking: SubscriptionTaking | undefined;
  const room: Inbound = createInbound({
    config: endpointOf(service, config, inbound),
    instance,
    broker,
    subscription: {
      name,
      take(options) {
        taking = broker.subscriber(service).subscribe({ name, topic, from, target: () => target, ...options });
        return taking;
      },
      isMade: () => taking?.isMade === true,
    },
  });
  return {
    name,
    start: () => room.start(),
    reconfigure(next, entries) {
      if (next.name !== name || next.topic !== topic) return false;
      room.reconfigure(endpointOf(service, next, entries));
      target = targetOf(next);
      return true;
    },
    drain: (limitMs) => room.drain(limitMs),
    state: () => room.state(),
    backlog: () => room.backlog(),
  };
}

function targetOf({ to, retry: { attempts, backoff, on } }: SubscriptionConfig): DeliveryTarget {
  const retry = { attempts, backoff, ...(on === undefined ? { on: [], untilSuccess: true } : { on }) };
  return { method: to.method, path: to.path, retry };
}

function endpointOf(service: string, { url, timeout }: SubscriptionConfig, inbound: readonly InboundConfig[]) {
  const { tls, health, rate, concurrency = defaultConcurrency } = inbound.find((entry) => entry.url === url) ?? {};
  return {
    service,
    url,
    timeout,
    concurrency,
    publishCalls: false,
    ...(tls !== undefined && { tls }),
    ...(health !== undefined && { health }),
    ...(rate !== undefined && { rate }),
  };
}
