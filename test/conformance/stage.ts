import { afterEach, beforeEach, expect, test } from 'vitest';
import { openBroker } from '../../sidecar/broker/open.ts';
import type { BroadcastEvent, DeliveryTarget } from '../../sidecar/model/broadcast.ts';
import type {
  Broker,
  CallerLog,
  Lease,
  PublisherLog,
  SubscribeOptions,
  TakeOptions,
  Taking,
} from '../../sidecar/broker/port.ts';
import type { ActionEvent, Progress, ResponseEvent } from '../../sidecar/model/call.ts';
import { eventually } from '../support/eventually.ts';
import { patience } from '../support/patience.ts';
import { ManagedProcess } from '../support/managed-process.ts';
import type { Backend, BackendOptions, Candidate, Support } from './backend.ts';
import { answered } from './events.ts';
import type { Errand } from './errand.ts';

/** The set of one test: a backend of its own, and whoever works with it. */
export class Stage {
  readonly #candidate: Candidate;
  readonly #brokers: Broker[] = [];
  readonly #children: ManagedProcess[] = [];
  #backend: Backend | undefined;
  /** What the adapters reported, for the message of a test that fails. */
  readonly problems: Error[] = [];

  constructor(candidate: Candidate) {
    this.#candidate = candidate;
  }

  get backend(): Backend {
    if (this.#backend === undefined) throw new Error('the backend is made by `set`, or before the first use');
    return this.#backend;
  }

  /** Makes the backend. */
  async set(options: BackendOptions = {}): Promise<void> {
    this.#backend = await this.#candidate.freshBackend(options);
  }

  /** An instance of a service's sidecar, as far as the broker is concerned. */
  async open(service: string, instance = `${service}-1`): Promise<Broker> {
    if (this.#backend === undefined) await this.set();
    const broker = await openBroker({
      config: this.backend.config,
      service,
      instance,
      report: (error) => this.problems.push(error),
    });
    this.#brokers.push(broker);
    await broker.start();
    return broker;
  }

  /** Sends a process on an errand with the same backend. */
  async send(errand: Errand): Promise<Child> {
    if (this.#backend === undefined) await this.set();
    const process = await ManagedProcess.start({
      label: errand.kind,
      command: globalThis.process.execPath,
      args: [`${import.meta.dirname}/child.ts`, JSON.stringify({ config: this.backend.config, errand })],
    });
    this.#children.push(process);
    return new Child(process);
  }

  async clear(): Promise<void> {
    for (const child of this.#children.splice(0)) await child.kill9();
    // At once, because some wait for others; what is still written to a backend that is away is given up.
    await Promise.all(this.#brokers.splice(0).map((broker) => broker.close(1_000)));
    await this.#backend?.[Symbol.asyncDispose]();
    this.#backend = undefined;
    this.problems.length = 0;
  }
}

/** A set for each test of a `describe`. */
export function useStage(candidate: Candidate): Stage {
  const stage = new Stage(candidate);
  beforeEach(() => {
    stage.problems.length = 0;
  });
  afterEach(() => stage.clear());
  return stage;
}

/** Expects of what `look` gives, now or within `limitMs`. */
export function expectSoon<T>(look: () => T, limitMs = 15_000) {
  return expect.poll(look, { timeout: limitMs * patience(), interval: 10 });
}

/** `test`, or a skip that says why. */
export function testWhere(support: Support): (title: string, body: () => Promise<void>, limitMs?: number) => void {
  return (title, body, limitMs) => {
    if (support === true) test(title, body, limitMs);
    else test.skip(`${title} (skipped: ${support.reason})`, body);
  };
}

/** A process on an errand, and the lines that it has written. */
export class Child {
  readonly process: ManagedProcess;

  constructor(process: ManagedProcess) {
    this.process = process;
  }

  /** What it has told so far, as words. A last line that was cut off by a kill is not told. */
  told(verb: string): string[] {
    const lines = this.process.stdout.split('\n').slice(0, -1);
    return lines.filter((line) => line.startsWith(`${verb} `)).map((line) => line.slice(verb.length + 1));
  }

  /** Waits until it has told `verb` this often. */
  async tells(verb: string, times = 1): Promise<string[]> {
    return await eventually(
      () => {
        const told = this.told(verb);
        if (told.length < times) throw new Error(`told ${told.length} times; it says:\n${this.process.logs}`);
        return told;
      },
      { what: `the child to tell "${verb}" ${times} times`, intervalMs: 2, pointless: () => this.process.obituary },
    );
  }
}

type Source = (options: TakeOptions) => Taking;
type Interest = Pick<SubscribeOptions, 'name' | 'topic'> & Partial<SubscribeOptions>;

/** Where a subscription of a test wants its events. */
export const hook: DeliveryTarget = {
  method: 'POST',
  path: '/hook',
  retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [503] },
};

function calleeOf(broker: Broker, service: string): Source {
  return (options) => broker.callee(service).take(options);
}

/** Takes calls of a service and keeps them until the test says what becomes of them. */
export class Hands {
  readonly taking: Taking;
  /** Every lease that came, in order. */
  readonly came: Lease[] = [];
  slots: number;
  #busy = 0;
  #next = 0;

  constructor(broker: Broker, service: string, slots = 64, from: Source = calleeOf(broker, service)) {
    this.slots = slots;
    this.taking = from({
      free: () => Math.max(0, this.slots - this.#busy),
      deliver: (lease) => {
        this.#busy++;
        this.came.push(lease);
      },
      report: () => {},
    });
  }

  /** Hands that have begun to take. */
  static open(broker: Broker, service: string, slots?: number): Hands {
    const hands = new Hands(broker, service, slots);
    hands.taking.resume();
    return hands;
  }

  /** Hands that have begun to take the deliveries of a subscription. */
  static subscribe(broker: Broker, service: string, options: Interest, slots?: number): Hands {
    const hands = new Hands(broker, service, slots, (take) =>
      broker.subscriber(service).subscribe({ from: { kind: 'new' }, target: () => hook, ...options, ...take }),
    );
    hands.taking.resume();
    return hands;
  }

  /** The next lease that comes, or has come and was not asked for yet. */
  async next(what = 'a call to be delivered', timeoutMs = 15_000): Promise<Lease> {
    const index = this.#next++;
    return await eventually(
      () => {
        const lease = this.came[index];
        if (lease === undefined) throw new Error(`${this.came.length} came so far`);
        return lease;
      },
      { what, timeoutMs, intervalMs: 2 },
    );
  }

  /** The call that `next` waits for will not come. */
  skip(): void {
    this.#next--;
  }

  async finish(lease: Lease, response: ResponseEvent): Promise<void> {
    await lease.finish(response);
    this.put();
  }

  async answer(lease: Lease, text: string): Promise<ResponseEvent> {
    const response = answered(lease.action, text, lease.progress);
    await this.finish(lease, response);
    return response;
  }

  async postpone(lease: Lease, progress: Progress, until: number): Promise<void> {
    await lease.postpone(progress, until);
    this.put();
  }

  async release(lease: Lease): Promise<void> {
    await lease.release();
    this.put();
  }

  /** A slot is free again: a lease has ended. */
  put(): void {
    this.#busy--;
    this.taking.more();
  }
}

/** Stores actions and expects each to be accepted. */
export async function storeAll(log: CallerLog, actions: readonly ActionEvent[]): Promise<void> {
  for (const action of actions) {
    const stored = await log.store(action);
    if (stored.kind !== 'accepted') throw new Error(`${action.id} was ${stored.kind}, not accepted`);
  }
}

/** Publishes events and expects each to be stored. */
export async function publishAll(log: PublisherLog, events: readonly BroadcastEvent[]): Promise<void> {
  for (const event of events) {
    const published = await log.publish(event);
    if (published.kind !== 'stored') throw new Error(`${event.id} was ${published.kind}, not stored`);
  }
}
