import { isDeepStrictEqual } from 'node:util';
import { assess, type Health } from './admin/health.ts';
import { createAdmin, type Admin } from './admin/server.ts';
import { openBroker } from './broker/open.ts';
import type { Broker, DurabilityPromise } from './broker/port.ts';
import type { Config, InboundConfig } from './config/config.ts';
import { createInbound, type Inbound, type InboundState } from './inbound/inbound.ts';
import { createSubscription, type Subscription } from './inbound/subscription.ts';
import { newInstanceTag } from './model/call-id.ts';
import { createOutbound, type Outbound } from './outbound/outbound.ts';
import { brokerChanged, deliveryChanged, trouble } from './telemetry/channels.ts';
import type { Backlog } from './telemetry/gauges.ts';
import { Metrics } from './telemetry/metrics.ts';

/** The broker has been asked to end; what it still writes may take this long, ms. */
const closeLimit = 2000;
/** A broker that is not there within this time after the start is worth a log line, ms. */
const firstConnectPatience = 2000;
/** `/ready` and `/metrics` must answer in time also when the broker does not answer, ms. */
const askLimit = 1000;

/** What a sidecar consists of, put together. The only file that knows every room. */
export class App {
  readonly instance = newInstanceTag();
  readonly metrics: Metrics;
  readonly #version: string;
  #config: Config;
  #phase: 'starting' | 'running' | 'stopping' = 'starting';
  readonly #admin: Admin;
  #drained = false;
  readonly #closing = new AbortController();
  #broker: Broker | undefined;
  #promise: DurabilityPromise | undefined;
  #outbound: Outbound | undefined;
  readonly #inbound = new Map<string, { config: InboundConfig; readonly room: Inbound }>();
  readonly #subscriptions = new Map<string, Subscription>();
  #loadedAt = Date.now();
  #lastReloadError: { at: number; errors: readonly string[] } | undefined;

  constructor(config: Config, version: string) {
    this.#config = config;
    this.#version = version;
    this.metrics = new Metrics({
      service: config.service,
      instance: this.instance,
      version,
      held: () => this.#outbound?.held() ?? 0,
      brokerUp: () => this.#broker?.status.connected ?? false,
      reloadRefused: () => this.#lastReloadError !== undefined,
      inbound: () => [...this.#deliveringRooms()].map(([name, room]) => ({ ...room.state(), service: name })),
      backlogs: () => this.#backlogs(),
    });
    this.#admin = createAdmin(config.admin, {
      health: () => this.health(),
      metrics: () => this.metrics.exposition(),
      operator: () => this.#broker?.operator,
      traceLink: () => this.#config.telemetry.traceLink,
    });
  }

  get config(): Config {
    return this.#config;
  }

  /** The open listeners: where the service sends its calls, and the admin listener. */
  addresses(): { readonly outbound: readonly string[]; readonly admin: string | undefined } {
    return { outbound: this.#outbound?.addresses() ?? [], admin: this.#admin.address() };
  }

  /**
   * Opens the listeners and begins to look for the broker. Resolves without it: a sidecar may be started in any order
   * with its broker, its service and its peers.
   * @throws Error that names what cannot be opened; nothing stays open then
   */
  async start(): Promise<void> {
    try {
      await this.#admin.open();
      const { service, broker } = this.#config;
      this.#broker = await openBroker({
        config: broker,
        service,
        instance: this.instance,
        report: (error) => trouble.publish({ where: 'broker', error }),
      });
      this.#broker.onStatus((status) => brokerChanged.publish(status));
      await this.#applyOutbound(this.#config);
      this.#own('broker', this.#connect(this.#broker));
      this.#applyInbound(this.#config);
      this.#applySubscriptions(this.#config);
    } catch (error) {
      await this.stop();
      throw error;
    }
    if (this.#phase === 'starting') this.#phase = 'running';
  }

  /**
   * Puts `next` in the place of the configuration, live; calls under way go on. `service` and `broker` stay.
   * @throws Error when a listener cannot be opened; the old configuration goes on then
   */
  async reload(next: Config): Promise<void> {
    const old = this.#config;
    try {
      await this.#apply(next);
    } catch (error) {
      // What was applied before the failure is taken back, so that a refused configuration leaves nothing half done.
      await this.#settle('reload', [this.#apply(old)]);
      throw error;
    }
    this.#config = next;
    this.#loadedAt = Date.now();
    this.#lastReloadError = undefined;
  }

  /** Shows on the admin page that a changed configuration was not taken. */
  reloadRefused(errors: readonly string[]): void {
    this.#lastReloadError = { at: Date.now(), errors };
  }

  /** A changed file that says what runs already: an earlier refusal is history. */
  reloadUnneeded(): void {
    this.#lastReloadError = undefined;
  }

  async health(): Promise<Health> {
    return assess({
      service: this.#config.service,
      instance: this.instance,
      version: this.#version,
      phase: this.#phase,
      broker: this.#broker?.status ?? { connected: false, detail: 'not opened yet' },
      ...definedPromise(await this.#currentPromise()),
      outbound: { listeners: this.addresses().outbound, held: this.#outbound?.held() ?? 0 },
      inbound: this.#inboundStates(),
      configuration: {
        loadedAt: this.#loadedAt,
        ...(this.#lastReloadError !== undefined && { lastReloadError: this.#lastReloadError }),
      },
    });
  }

  /**
   * Takes nothing new and lets what is under way end, both directions at once.
   * @param limitMs after this long callers that still wait are answered `shutting-down`; their calls go on
   */
  async drain(limitMs: number): Promise<void> {
    this.#phase = 'stopping';
    this.#drained = true;
    const inbound = [...this.#deliveringRooms()].map(([, room]) => room.drain(limitMs));
    const outbound = this.#outbound === undefined ? [] : [this.#outbound.drain(limitMs)];
    await this.#settle('drain', [...outbound, ...inbound]);
  }

  /** Closes everything that is open. */
  async stop(): Promise<void> {
    this.#phase = 'stopping';
    this.#closing.abort();
    // A start that failed half-way has open listeners here.
    if (!this.#drained) await this.drain(0);
    if (this.#broker !== undefined) await this.#settle('stop', [this.#broker.close(closeLimit)]);
    await this.#settle('stop', [this.#admin.close()]);
    this.metrics.close();
  }

  #inboundStates(): InboundState[] {
    return [...this.#deliveringRooms()].map(([, room]) => room.state());
  }

  /** Of those services whose broker tells in time: what is not known is not shown. */
  async #backlogs(): Promise<Backlog[]> {
    const asked = [...this.#deliveringRooms()].map(async ([service, room]) => {
      const backlog = await inTime(room.backlog()).catch(() => undefined);
      return backlog === undefined ? [] : [{ service, ...backlog }];
    });
    return (await Promise.all(asked)).flat();
  }

  /** Status listeners hear of changes only; a broker that is away from the start is none, and must be told all the same. */
  async #connect(broker: Broker): Promise<void> {
    const warning = setTimeout(() => brokerChanged.publish(broker.status), firstConnectPatience);
    await broker.start(this.#closing.signal);
    clearTimeout(warning);
  }

  /** First what fails most easily: opening listeners. */
  async #apply(config: Config): Promise<void> {
    await this.#applyOutbound(config);
    await this.#admin.reconfigure(config.admin);
    this.#applyInbound(config);
    this.#applySubscriptions(config);
  }

  async #applyOutbound(next: Config): Promise<void> {
    const { outbound: config, service, shutdown } = next;
    const room = this.#outbound;
    if (config === undefined) {
      this.#outbound = undefined;
      if (room !== undefined) this.#own('outbound', room.drain(shutdown.drain));
    } else if (room !== undefined) {
      await room.reconfigure(config);
    } else {
      const created = createOutbound({ service, config, broker: this.#broker! });
      await created.open();
      this.#outbound = created;
    }
  }

  #applyInbound(next: Config): void {
    for (const [service, { room }] of this.#inbound) {
      if (next.inbound.some((config) => config.service === service)) continue;
      this.#inbound.delete(service);
      this.#own(`inbound ${service}`, room.drain(next.shutdown.drain));
    }
    for (const config of next.inbound) {
      const present = this.#inbound.get(config.service);
      if (present === undefined) {
        const room = createInbound({ config, instance: this.instance, broker: this.#broker! });
        this.#inbound.set(config.service, { config, room });
        room.start();
      } else if (!isDeepStrictEqual(present.config, config)) {
        present.room.reconfigure(config);
        present.config = config;
      }
    }
  }

  #applySubscriptions({ service, subscribe, inbound, shutdown }: Config): void {
    for (const [name, room] of this.#subscriptions) {
      if (subscribe.some((config) => config.name === name)) continue;
      this.#retire(room, shutdown.drain);
      const why = 'the subscription was removed from the configuration; what it has not had stays at the broker';
      deliveryChanged.publish({ service: `${service}/${name}`, state: 'paused', why });
    }
    for (const config of subscribe) {
      const present = this.#subscriptions.get(config.name);
      if (present?.reconfigure(config, inbound) === true) continue;
      if (present !== undefined) this.#retire(present, shutdown.drain);
      const room = createSubscription({ service, config, inbound, instance: this.instance, broker: this.#broker! });
      this.#subscriptions.set(config.name, room);
      room.start();
    }
  }

  #retire(room: Subscription, limitMs: number): void {
    this.#subscriptions.delete(room.name);
    this.#own(`subscription ${room.name}`, room.drain(limitMs));
  }

  /** What delivers to the local service, calls and events, each by its name on metrics. */
  *#deliveringRooms(): Iterable<[name: string, room: Pick<Inbound, 'state' | 'drain' | 'backlog'>]> {
    for (const [service, { room }] of this.#inbound) yield [service, room];
    for (const [name, room] of this.#subscriptions) yield [`${this.#config.service}/${name}`, room];
  }

  async #currentPromise(): Promise<DurabilityPromise | undefined> {
    const broker = this.#broker;
    if (broker?.status.connected) {
      const asked = broker.promise().then(
        (promise) => {
          this.#promise = promise;
        },
        (error: unknown) => trouble.publish({ where: 'broker', error: toError(error) }),
      );
      await inTime(asked);
    }
    return this.#promise;
  }

  /** What goes on in the background has this owner: a failure is told. */
  #own(where: string, work: Promise<unknown>): void {
    work.catch((error: unknown) => trouble.publish({ where, error: toError(error) }));
  }

  /** One part that fails to end must not keep the others from ending. */
  async #settle(where: string, work: readonly Promise<void>[]): Promise<void> {
    for (const result of await Promise.allSettled(work)) {
      if (result.status === 'rejected') trouble.publish({ where, error: toError(result.reason) });
    }
  }
}

function definedPromise(promise: DurabilityPromise | undefined): { promise?: DurabilityPromise } {
  return promise === undefined ? {} : { promise };
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

/** The outcome of a question to the broker, undefined when that takes too long. */
async function inTime<T>(asked: Promise<T>): Promise<T | undefined> {
  const limit = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => limit.resolve(undefined), askLimit);
  try {
    return await Promise.race([asked, limit.promise]);
  } finally {
    clearTimeout(timer);
  }
}
