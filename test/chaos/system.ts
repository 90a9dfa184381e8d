import { appendFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../support/free-port.ts';
import { startTcpRelay, type TcpRelay } from '../support/tcp-relay.ts';
import { type BrokerUnderTest, type Engine, startBroker } from './broker.ts';
import type { CallerOptions } from './caller.ts';
import { clockVariable } from './clock.ts';
import type { Door } from './exchange.ts';
import { type Crashed, record } from './history.ts';
import { Part, type Victim } from './part.ts';
import type { Target } from './schedule.ts';
import type { Behaviour } from './service.ts';
import { subscribe } from './subscriptions.ts';
import { routes } from './workload.ts';

const entryPoint = join(import.meta.dirname, '../../sidecar/main.ts');
/** What a cluster gets for its elections between two faults, ms; without it there would be hardly any work to judge. */
const electionTime = 8_000;
/** The services with sidecars of their own: a side each. */
const sides = ['orders', 'payments'];
const program = (name: string) => join(import.meta.dirname, name);

export interface SystemOptions {
  readonly engine: Engine;
  /** Everything that is written lands here. */
  readonly folder: string;
  readonly callers: number;
  /** Whether there is a route with an order key. */
  readonly ordered: boolean;
  /** Whether the disk of the broker is to be filled. */
  readonly ownDisk: boolean;
}

/** A sidecar with its configuration and its own links, one to each server of the broker. */
interface Sidecar {
  readonly part: Part;
  readonly links: readonly TcpRelay[];
  /** The file with the offset of its wall clock. */
  readonly clock: string;
  /** Writes the configuration, in the ordinary or the other form, and has it loaded. */
  reload(form: 'ordinary' | 'other'): void;
}

/** The subscriber that is away for a part of the run. */
const archive = 'archive';

/**
 * The system under test, every part a process of its own: callers → two sidecars of `orders` → broker → two sidecars of
 * `payments` → a service each. Broadcasts go from `orders` to subscriptions of `payments`, and of `audit`, which has one
 * sidecar and the service `archive`; callbacks go to the callers' own service, `desk`. Every sidecar reaches the broker
 * over a relay of its own.
 */
export class System {
  readonly doors: Door[] = [];
  /** Every process that a fault can hit, by name. */
  readonly victims = new Map<string, Victim>();
  readonly sidecars = new Map<string, Sidecar>();
  readonly callers: Part[] = [];
  readonly broker: BrokerUnderTest;
  readonly #options: SystemOptions;
  readonly #behaviours = new Map<string, string>();
  readonly #services: Part[] = [];

  private constructor(options: SystemOptions, broker: BrokerUnderTest) {
    this.#options = options;
    this.broker = broker;
    for (const server of broker.servers) this.victims.set(server.name, server);
  }

  /** Starts broker, services and sidecars; resolves when all are well. Callers come with {@link startCallers}. */
  static async start(options: SystemOptions): Promise<System> {
    mkdirSync(join(options.folder, 'logs'), { recursive: true });
    const system = new System(options, await startBroker(options.engine, options.folder, options.ownDisk));
    try {
      for (const number of [1, 2]) await system.#addCallee(number);
      const desk = await system.#addService('desk');
      for (const number of [1, 2]) await system.#addDoor(number, desk);
      await system.#addAuditor();
      await system.well();
      return system;
    } catch (error) {
      await system.stop();
      throw error;
    }
  }

  /** What faults can hit. */
  targets(): Target[] {
    const targets: Target[] = [];
    for (const [name, { links }] of this.sidecars) {
      targets.push({ name, kind: 'sidecar' });
      if (links.length > 0) targets.push({ name: linkOf(name), kind: 'link', involves: [name] });
      targets.push({ name: clockOf(name), kind: 'clock' });
    }
    if (this.broker.ports.length > 0) {
      for (const side of sides) targets.push({ name: sideOf(side), kind: 'side', involves: this.#sidecarsOf(side) });
    }
    for (const { name } of this.#services) targets.push({ name, kind: 'service' });
    targets.push({ name: archive, kind: 'subscriber' });
    for (const { name } of this.callers) targets.push({ name, kind: 'caller' });
    const { servers, leading, lock, fill } = this.broker;
    // One node at a time, so that a cluster loses its quorum only by the loss of a node and what comes after it.
    const whole = leading ? { involves: ['cluster'], recovery: electionTime } : {};
    for (const { name } of servers) targets.push({ name, kind: 'broker', ...whole });
    if (leading) targets.push({ name: 'cluster', kind: 'cluster', recovery: electionTime });
    if (lock) targets.push({ name: 'database', kind: 'database' });
    if (fill) targets.push({ name: 'disk', kind: 'disk', involves: servers.map(({ name }) => name) });
    targets.push({ name: 'sidecars', kind: 'fleet', involves: [...this.sidecars.keys()] });
    return targets;
  }

  /** The links that a target of kind `link` or `side` stands for. */
  links(target: string): TcpRelay[] {
    const side = sides.find((service) => sideOf(service) === target);
    const names = side ? this.#sidecarsOf(side) : [...this.sidecars.keys()].filter((name) => linkOf(name) === target);
    const relays = names.flatMap((name) => this.sidecars.get(name)?.links ?? []);
    if (relays.length === 0) throw new Error(`there is no link ${target}`);
    return relays;
  }

  /** Shifts the wall clock of a sidecar. @param offset from the machine's, ms */
  setClock(target: string, offset: number): void {
    const clock = [...this.sidecars].find(([name]) => clockOf(name) === target)?.[1].clock;
    if (clock === undefined) throw new Error(`there is no clock ${target}`);
    writeFileSync(clock, String(offset));
  }

  victim(name: string): Victim {
    const victim = this.victims.get(name);
    if (!victim) throw new Error(`there is no process ${name}`);
    return victim;
  }

  /** How a service behaves from now on. */
  behave(service: string, behaviour: Behaviour): void {
    const file = this.#behaviours.get(service);
    if (file === undefined) throw new Error(`there is no service ${service}`);
    writeFileSync(file, JSON.stringify(behaviour));
  }

  async startCallers(options: Omit<CallerOptions, 'name' | 'doors' | 'file' | 'tasks'>, tasks: number): Promise<void> {
    const { callers } = this.#options;
    for (let number = 1; number <= callers; number++) {
      const name = `caller-${number}`;
      const share = Math.ceil((tasks * number) / callers) - Math.ceil((tasks * (number - 1)) / callers);
      const own: CallerOptions = {
        ...options,
        name,
        tasks: share,
        doors: this.doors,
        file: this.#file(`${name}.jsonl`),
      };
      const caller = this.#part(name, [program('caller.ts'), JSON.stringify(own)]);
      this.callers.push(caller);
      await caller.start();
    }
  }

  /** Every file with a part of the history. */
  histories(): string[] {
    const executions = this.#services.map(({ name }) => this.#file(`${name}.jsonl`));
    return [...this.callers.map(({ name }) => this.#file(`${name}.jsonl`)), ...executions, this.file];
  }

  /** What the harness itself has to record. */
  get file(): string {
    return this.#file('harness.jsonl');
  }

  /** Resolves when every sidecar is ready and every service answers. */
  async well(): Promise<void> {
    await Promise.all(
      [...this.#services, ...[...this.sidecars.values()].map(({ part }) => part)].map((part) => part.well()),
    );
  }

  /** Ends all of it, keeps the logs. */
  async stop(): Promise<void> {
    const parts = [...this.callers, ...[...this.sidecars.values()].map(({ part }) => part), ...this.#services];
    await Promise.all(parts.map((part) => part.kill()));
    for (const { links } of this.sidecars.values()) await Promise.all(links.map((link) => link.cut()));
    await this.broker.remove();
  }

  async #addCallee(number: number): Promise<void> {
    const url = await this.#addService(`service-${number}`);
    // One with health checks and one without: a service that is down is noticed in different ways.
    const health = number === 2 ? { health: { path: '/healthz', interval: '500ms' } } : {};
    await this.#addSidecar(`payments-${number}`, 'payments', (form) => ({
      inbound: [{ url, timeout: '3s', concurrency: form === 'ordinary' ? 16 : 4, publishCalls: true, ...health }],
      subscribe: subscribe('payments', url),
    }));
  }

  /** @param desk the callers' own service */
  async #addDoor(number: number, desk: string): Promise<void> {
    const name = `orders-${number}`;
    const listen = `127.0.0.1:${await freePort()}`;
    this.doors.push({ name, url: `http://${listen}` });
    const { ordered } = this.#options;
    const unmatched = { ordinary: 'deny', other: 'passthrough' };
    await this.#addSidecar(name, 'orders', (form) => ({
      outbound: { listen, unmatched: unmatched[form], routes: routes(ordered) },
      inbound: [{ url: desk, timeout: '3s', concurrency: 16 }],
    }));
  }

  /** A subscription leaves its configuration for a while, and goes on from where it was. */
  async #addAuditor(): Promise<void> {
    const url = await this.#addService(archive);
    await this.#addSidecar('audit-1', 'audit', (form) => ({
      subscribe: subscribe('audit', url, form === 'ordinary' ? undefined : 'archive'),
    }));
  }

  /** @returns its URL */
  async #addService(name: string): Promise<string> {
    const port = await freePort();
    const behaviour = this.#file(`${name}.behaviour.json`);
    this.#behaviours.set(name, behaviour);
    this.behave(name, { kind: 'well', share: 0 });
    const args = [program('service.ts'), String(port), name, this.#file(`${name}.jsonl`), behaviour];
    const part = this.#part(name, args, `http://127.0.0.1:${port}/healthz`);
    this.#services.push(part);
    await part.start();
    return `http://127.0.0.1:${port}`;
  }

  async #addSidecar(
    name: string,
    service: string,
    sections: (form: 'ordinary' | 'other') => Record<string, unknown>,
  ): Promise<void> {
    const { broker } = this;
    const links: TcpRelay[] = [];
    for (const port of broker.ports) links.push(await startTcpRelay(port));
    const url = links.map(({ port }) => `nats://127.0.0.1:${port}`).join(',') || broker.url;
    const admin = `127.0.0.1:${await freePort()}`;
    const file = this.#file(`${name}.yaml`);
    const replicas = broker.replicas === undefined ? {} : { replicas: broker.replicas };
    const write = (form: 'ordinary' | 'other') => {
      const config = {
        service,
        // No run is as long as this: what is forgotten after its retention would look lost.
        broker: { url, ...replicas, retention: { responses: '12h' } },
        ...sections(form),
        admin: { listen: admin },
        shutdown: { drain: '4s' },
      };
      writeFileSync(file, stringify(config));
    };
    write('ordinary');
    const clock = this.#file(`${name}.clock`);
    writeFileSync(clock, '0');
    const args = ['--import', program('clock.ts'), entryPoint, 'run', '--config', file];
    const part = this.#part(name, args, `http://${admin}/ready`, { [clockVariable]: clock });
    const reload = (form: 'ordinary' | 'other') => {
      write(form);
      part.reload();
    };
    this.sidecars.set(name, { part, links, clock, reload });
    await part.start();
  }

  #part(name: string, args: string[], health?: string, env?: Record<string, string>): Part {
    const part = new Part({
      label: name,
      command: process.execPath,
      args,
      log: this.#file(join('logs', `${name}.log`)),
      ...(health !== undefined && { health }),
      ...(env && { env }),
      onCrash: (detail) => {
        const crash: Crashed = { type: 'crashed', at: Date.now(), part: name, detail };
        record(this.file, crash);
        appendFileSync(this.#file(join('logs', 'crashes.log')), `${name}: ${detail}\n`);
      },
    });
    this.victims.set(name, part);
    return part;
  }

  #sidecarsOf(side: string): string[] {
    return [...this.sidecars.keys()].filter((name) => name.startsWith(`${side}-`));
  }

  #file(name: string): string {
    return join(this.#options.folder, name);
  }
}

function clockOf(sidecar: string): string {
  return `${sidecar}’s clock`;
}

function sideOf(service: string): string {
  return `the links of ${service}`;
}

function linkOf(sidecar: string): string {
  return `${sidecar}’s link`;
}
