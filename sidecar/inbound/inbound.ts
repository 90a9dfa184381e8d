import type { Broker, CallerLog, Lease, TakeOptions, Taking } from '../broker/port.ts';
import type { InboundConfig } from '../config/config.ts';
import { deliveryChanged, trouble } from '../telemetry/channels.ts';
import { readCallId } from '../model/call-id.ts';
import { endsWithDelivery } from '../policy/idempotency.ts';
import { CircuitBreaker } from './breaker.ts';
import { Connections } from './connections.ts';
import { Gatekeeper } from './gatekeeper.ts';
import { Replayer, type Course } from './replayer.ts';
import { targetOf } from './target.ts';

/** The calls that are made to one service: action event → attempt → response event. */
export interface Inbound {
  /** Begins to look for the service and, once it is up, to take calls. */
  start(): void;
  /**
   * Puts `config` in the place of the configuration; attempts under way go on as they began.
   * @throws Error for a TLS file that cannot be read; the old configuration goes on then
   */
  reconfigure(config: Endpoint): void;
  /**
   * Takes no more calls, gives back those that have not started, lets running attempts end, and breaks off what is left
   * after `limitMs`: idempotent calls go on elsewhere, the others become dead letters. Never rejects.
   */
  drain(limitMs: number): Promise<void>;
  state(): InboundState;
  /**
   * Calls stored and not finished, and since when the oldest waits (ms since the epoch); undefined before `start`.
   * @throws {BrokerUnavailable}
   */
  backlog(): Promise<{ readonly waiting: number; readonly oldest?: number } | undefined>;
}

/** How it is doing, for the admin page. */
export interface InboundState {
  readonly service: string;
  /** Where these are the deliveries of a subscription. */
  readonly subscription?: string;
  /** The broker does not know the subscription yet: it would miss what is published now. */
  readonly unmade?: true;
  /** False while calls wait because the service is down or the broker is away. */
  readonly delivering: boolean;
  /** Why nothing is delivered. */
  readonly why?: string;
  /** Attempts under way. */
  readonly running: number;
}

/** Where attempts go, and how. */
export interface Endpoint extends InboundConfig {
  /** Sign each attempt. */
  readonly secrets?: readonly string[];
  /** Only public addresses are connected to. */
  readonly publicOnly?: boolean;
}

export interface InboundOptions {
  readonly config: Endpoint;
  /** The tag of this sidecar instance, for the history of calls. */
  readonly instance: string;
  readonly broker: Broker;
  /** Present where not calls to the service are taken but the deliveries of one of its subscriptions. */
  readonly subscription?: {
    readonly name: string;
    /** The service is an endpoint of somebody else, with a circuit breaker before it. */
    readonly outside: boolean;
    take(options: TakeOptions): Taking;
    isMade(): boolean;
    isEnded(): boolean;
    end(): Promise<void>;
  };
}

/** Name resolution, connection and TLS handshake may take this long together, ms, if an attempt may. */
const CONNECT_LIMIT = 10_000;
/** What was broken off is stored within this time after the drain limit, ms, or by whoever gets the call next. */
const STORE_GRACE = 1_000;

/**
 * Makes the inbound side of one service.
 * @throws Error for a TLS file that cannot be read
 */
export function createInbound({ config, instance, broker, subscription }: InboundOptions): Inbound {
  const { service } = config;
  const name = subscription === undefined ? service : `${service}/${subscription.name}`;
  let course = courseOf(config);
  const former = new Set<Connections>();
  let taking: Taking | undefined;
  let stopping = false;
  const report = (error: unknown) => {
    trouble.publish({ where: `inbound ${name}`, error: error instanceof Error ? error : new Error(String(error)) });
  };

  const gate = new Gatekeeper(name, watchedOf(course), (open) => {
    if (open) {
      course.connections.trust();
      taking?.resume();
      taking?.more();
    } else {
      taking?.pause();
      replayer.yieldWaiting();
    }
  });
  const breaker =
    subscription?.outside === true
      ? new CircuitBreaker(name, () => {
          if (breaker?.room === 0) replayer.yieldWaiting();
          else taking?.more();
        })
      : undefined;
  const replayer: Replayer = new Replayer({
    instance,
    course,
    gate,
    broker,
    ...(breaker !== undefined && { breaker }),
    ...(subscription !== undefined && { gone: () => endedBy(name, subscription) }),
    more: () => taking?.more(),
    told: (id) => {
      if (readCallId(id).keyed) rememberDelivery(broker.caller(service), id).catch(report);
    },
  });

  function start(): void {
    if (taking !== undefined || stopping) return;
    const options = {
      free: () => replayer.free(),
      deliver: (lease: Lease) => replayer.deliver(lease),
      report,
      publishCalls: () => course.config.publishCalls,
    };
    taking = subscription === undefined ? broker.callee(service).take(options) : subscription.take(options);
    // A gate that is closed at the start is a pause like any other: deadlines pass meanwhile.
    taking.pause();
    gate.start();
  }

  function reconfigure(next: Endpoint): void {
    if (next.service !== service) throw new TypeError(`the inbound side of ${service} cannot become ${next.service}'s`);
    const { connections } = course;
    course = courseOf(next);
    replayer.follow(course);
    gate.watch(watchedOf(course));
    connections.retire();
    former.add(connections);
  }

  async function drain(limitMs: number): Promise<void> {
    stopping = true;
    gate.stop();
    breaker?.stop();
    const stopped = taking?.stop().catch(report);
    const all = [course.connections, ...former];
    replayer.stop();
    for (const connections of all) connections.stop();
    await within(replayer.idle(), limitMs);
    replayer.abort();
    await within(Promise.all([replayer.idle(), stopped]), STORE_GRACE);
    for (const connections of all) connections.destroy();
  }

  function state(): InboundState {
    const { open, why } = gate.state;
    const reason = stopping
      ? 'the sidecar is stopping'
      : !open
        ? why
        : !broker.status.connected
          ? awayOf(broker)
          : subscription?.isEnded() === true
            ? ENDED
            : breaker?.why;
    const { running } = replayer;
    const whose = subscription === undefined ? { service } : { service, ...stateOf(subscription) };
    return reason === undefined
      ? { ...whose, delivering: true, running }
      : { ...whose, delivering: false, why: reason, running };
  }

  return { start, reconfigure, drain, state, backlog: async () => taking?.backlog() };
}

function stateOf(subscription: NonNullable<InboundOptions['subscription']>) {
  const { name } = subscription;
  return subscription.isMade() ? { subscription: name } : { subscription: name, unmade: true as const };
}

/** Why an ended subscription delivers nothing. */
const ENDED = 'the subscriber answered 410 and wants no more; `holdline subscriptions resume` lets it go on';

async function endedBy(name: string, subscription: NonNullable<InboundOptions['subscription']>): Promise<void> {
  if (!subscription.isEnded()) deliveryChanged.publish({ service: name, state: 'paused', why: ENDED });
  await subscription.end();
}

function courseOf(config: Endpoint): Course {
  const { secrets } = config;
  const target = targetOf(config);
  return {
    config,
    target,
    ...(secrets !== undefined && { secrets }),
    connections: new Connections(target, Math.min(config.timeout, CONNECT_LIMIT)),
  };
}

function watchedOf({ target, connections, config: { health } }: Course) {
  return { target, connections, health };
}

function awayOf({ status: { detail } }: Broker): string {
  return detail === undefined ? 'the broker is away' : `the broker is away: ${detail}`;
}

/** Resolves with the work or when the time is over, whichever comes first. */
async function within(work: Promise<unknown>, limitMs: number): Promise<void> {
  const over = Promise.withResolvers<void>();
  const timer = setTimeout(over.resolve, limitMs);
  await Promise.race([work, over.promise]);
  clearTimeout(timer);
}

/** A callback that was taken is a delivery: what the service asks for next with the same content is another call. */
async function rememberDelivery(log: CallerLog, id: string): Promise<void> {
  const found = await log.find(id);
  if (found?.kind !== 'finished') return;
  const { call, outcome } = found.response;
  if (endsWithDelivery(outcome)) log.markDelivered(id, call.round);
}
