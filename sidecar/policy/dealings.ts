import type { Config, SubscriptionStart } from '../config/config.ts';
import { hostTest, isServiceName } from './route.ts';
import { callTopic } from './topic.ts';

/** What one service's sidecars do on the broker, as far as configurations tell. */
export interface Dealings {
  /** The service next to the sidecar; all of its instances do the same. */
  readonly service: string;
  /** It has an outbound side, with or without calls that are stored. */
  readonly outbound: boolean;
  /** The services that it calls. */
  readonly calls: readonly Calls[];
  /** The services that it answers for: mostly itself. */
  readonly answers: readonly Answers[];
  /** Topics of its broadcast routes. */
  readonly publishes: readonly string[];
  readonly subscribes: readonly Subscribes[];
  /** Routes whose callee is known only when a request comes. */
  readonly open: readonly string[];
}

export interface Subscribes {
  readonly name: string;
  readonly topic: string;
  readonly from: SubscriptionStart;
  /** Deliveries are made in order. */
  readonly ordered: boolean;
}

export interface Calls {
  readonly callee: string;
  /** Some of these calls have an order key. */
  readonly ordered: boolean;
  /** Some of them want their answer replayed to the caller's service. */
  readonly callbacks: boolean;
  /** The callee publishes its finished calls. */
  readonly published: boolean;
}

export interface Answers {
  readonly service: string;
  readonly callers: readonly Caller[];
  readonly publishesCalls: boolean;
  /** Calls of this service's own that are answered by a callback to it. */
  readonly calledBack: readonly Calls[];
}

export interface Caller {
  readonly caller: string;
  /** Some of its calls want their answer replayed to it. */
  readonly callbacks: boolean;
  /** It does nothing but call back, and such calls have a key. */
  readonly onlyKeyed: boolean;
}

/**
 * Who deals with whom, from the configurations of all services. Several of one service are taken together. A route without a
 * service and without an exact host may call whatever answers in these configurations and fits its pattern.
 */
export function dealingsOf(configs: readonly Config[]): Dealings[] {
  const answering = new Set(configs.flatMap(({ inbound }) => inbound.map(({ service }) => service)));
  const publishing = new Set(
    configs.flatMap(({ inbound }) => inbound.filter((entry) => entry.publishCalls).map(({ service }) => service)),
  );
  const byService = Map.groupBy(configs, ({ service }) => service);
  const calls = new Map(
    [...byService].map(([service, own]) => [service, callsOf(own, answering, publishing)] as const),
  );
  return [...byService].map(([service, own]) => ({
    service,
    outbound: own.some(({ outbound }) => outbound !== undefined),
    calls: calls.get(service)!,
    answers: sorted(new Set(own.flatMap(({ inbound }) => inbound.map((entry) => entry.service)))).map((answered) => ({
      service: answered,
      callers: callersOf(answered, calls),
      publishesCalls: publishing.has(answered),
      calledBack: (calls.get(answered) ?? []).filter(({ callbacks }) => callbacks),
    })),
    publishes: sorted(
      new Set(routesOf(own).flatMap(({ mode, topic }) => (mode === 'broadcast' && topic ? [topic] : []))),
    ),
    subscribes: subscribesOf(own),
    open: durableRoutes(own).flatMap(({ name, service: peer }) => (peer === undefined ? [name] : [])),
  }));
}

function subscribesOf(configs: readonly Config[]): Subscribes[] {
  const found = configs.flatMap(({ subscribe }) =>
    subscribe.map(({ name, topic, call, from, orderBy }) => ({
      name,
      topic: call === undefined ? topic : callTopic(call.service),
      from,
      ordered: orderBy !== undefined,
    })),
  );
  return found.filter(
    (one, at) => found.findIndex(({ name, topic }) => name === one.name && topic === one.topic) === at,
  );
}

function callsOf(configs: readonly Config[], answering: ReadonlySet<string>, publishing: ReadonlySet<string>): Calls[] {
  const found = new Map<string, Calls>();
  for (const { service, match, orderBy, callback } of durableRoutes(configs)) {
    const fits = match.host === undefined ? () => true : hostTest(match.host);
    const callees = service === undefined ? [...answering].filter(fits) : [service];
    for (const callee of callees) {
      const known = found.get(callee);
      found.set(callee, {
        callee,
        ordered: orderBy !== undefined || known?.ordered === true,
        callbacks: callback !== undefined || known?.callbacks === true,
        published: publishing.has(callee),
      });
    }
  }
  return [...found.values()].toSorted((a, b) => (a.callee < b.callee ? -1 : 1));
}

/** A callback is a call, too: from the service that answered to the one that asked. */
function callersOf(answered: string, calls: ReadonlyMap<string, readonly Calls[]>): Answers['callers'] {
  const found = new Map<string, Caller>();
  for (const [caller, made] of calls) {
    const towards = made.find(({ callee }) => callee === answered);
    if (towards !== undefined) found.set(caller, { caller, callbacks: towards.callbacks, onlyKeyed: false });
  }
  for (const { callee, callbacks } of calls.get(answered) ?? []) {
    if (callbacks && !found.has(callee)) found.set(callee, { caller: callee, callbacks: false, onlyKeyed: true });
  }
  return [...found.values()].toSorted((a, b) => (a.caller < b.caller ? -1 : 1));
}

function routesOf(configs: readonly Config[]) {
  return configs.flatMap(({ outbound }) => outbound?.routes ?? []);
}

/** Those that store calls; one whose exact host is no name of a service never does. */
function durableRoutes(configs: readonly Config[]) {
  return routesOf(configs).filter(
    ({ mode, service }) => (mode === 'await' || mode === 'async') && (service === undefined || isServiceName(service)),
  );
}

function sorted(values: ReadonlySet<string>): string[] {
  return [...values].toSorted();
}
