import { isDeepStrictEqual } from 'node:util';
import type { Broker, Lease, SubscriptionTaking, TakeOptions } from '../broker/port.ts';
import type { InboundConfig, SubscriptionConfig } from '../config/config.ts';
import type { DeliveryTarget } from '../model/broadcast.ts';
import { conclude, factsOf, type ActionEvent, type ToldCall, type TraceContext } from '../model/call.ts';
import { filterTest } from '../policy/filter.ts';
import { callTest } from '../policy/subscribed-calls.ts';
import { callTopic } from '../policy/topic.ts';
import { eventFiltered } from '../telemetry/channels.ts';
import { createInbound, type Endpoint, type Inbound, type InboundState } from './inbound.ts';

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
  const { name, from, orderBy, outside } = config;
  const topic = topicOf(config);
  let target = targetOf(config);
  let wants = choiceOf(config);
  let taking: SubscriptionTaking | undefined;
  const room: Inbound = createInbound({
    config: endpointOf(service, config, inbound),
    instance,
    broker,
    subscription: {
      name,
      outside,
      take(options) {
        const subscriber = broker.subscriber(service);
        taking = subscriber.subscribe({
          name,
          topic,
          from,
          ...(orderBy !== undefined && { orderBy }),
          target: () => target,
          ...choosing(
            options,
            ({ action }) => wants(action),
            () => taking?.more(),
          ),
        });
        return taking;
      },
      isMade: () => taking?.isMade === true,
      isEnded: () => taking?.isEnded === true,
      end: async () => await taking?.end(),
    },
  });
  return {
    name,
    start: () => room.start(),
    reconfigure(next, entries) {
      if (next.name !== name || topicOf(next) !== topic || next.outside !== outside) return false;
      if (!isDeepStrictEqual(next.orderBy, orderBy)) return false;
      room.reconfigure(endpointOf(service, next, entries));
      target = targetOf(next);
      wants = choiceOf(next);
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

function topicOf({ topic, call }: SubscriptionConfig): string {
  return topic ?? callTopic(call.service);
}

/** Which events of its topic the subscription wants. */
function choiceOf({ call, filter }: SubscriptionConfig): (action: ActionEvent) => boolean {
  const isWantedCall = call === undefined ? () => true : isOfCall(callTest(call));
  if (filter === undefined) return isWantedCall;
  const test = filterTest(filter);
  return (action) => {
    if (!isWantedCall(action)) return false;
    // It matched when it became a dead letter, and now somebody wants it to be delivered.
    if (action.round > 1) return true;
    const verdict = test(action);
    if (verdict === 'matches') return true;
    if (eventFiltered.hasSubscribers) eventFiltered.publish({ call: factsOf(action), verdict, ...traceOf(action) });
    return false;
  };
}

function isOfCall(wants: (call: ToldCall) => boolean): (action: ActionEvent) => boolean {
  return ({ delivery }) => delivery?.call !== undefined && wants(delivery.call);
}

function traceOf({ trace }: ActionEvent): { trace?: TraceContext } {
  return trace === undefined ? {} : { trace };
}

/** Settles at once what is not wanted. That takes slots, too, so that no more of it is at hand than of the rest. */
function choosing(options: TakeOptions, wants: (lease: Lease) => boolean, more: () => void): TakeOptions {
  let passing = 0;
  const pass = async (lease: Lease): Promise<void> => {
    passing++;
    try {
      await lease.finish(conclude(lease.action, lease.progress, 'answered', Date.now()));
    } finally {
      passing--;
      more();
    }
  };
  return {
    ...options,
    free: () => Math.max(0, options.free() - passing),
    deliver: (lease) => {
      if (wants(lease)) options.deliver(lease);
      else pass(lease).catch((error: Error) => options.report(error));
    },
  };
}

function endpointOf(service: string, config: SubscriptionConfig, inbound: readonly InboundConfig[]): Endpoint {
  const { url, timeout, secret, outside, allowPrivate } = config;
  const entry = inbound.find((local) => local.url === url);
  const { tls, health, concurrency = defaultConcurrency } = entry ?? {};
  const rate = config.rate ?? entry?.rate;
  return {
    service,
    url,
    timeout,
    ...(secret !== undefined && { secrets: secret }),
    publicOnly: outside && !allowPrivate,
    concurrency,
    publishCalls: false,
    ...(tls !== undefined && { tls }),
    ...(health !== undefined && { health }),
    ...(rate !== undefined && { rate }),
  };
}
