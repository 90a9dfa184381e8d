import { jetstreamManager, type JetStreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { openJetStreamBroker } from '../../../sidecar/broker/jetstream/broker.ts';
import type { Broker, Lease, Taking } from '../../../sidecar/broker/port.ts';
import type { NatsBrokerConfig } from '../../../sidecar/config/config.ts';
import { conclude, type ActionEvent, type Answer, type ResponseEvent } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';

const HOUR = 3_600_000;

/** A broker configuration with every option at its default. */
export function natsConfig(url: string, retention: Partial<NatsBrokerConfig['retention']> = {}): NatsBrokerConfig {
  return {
    kind: 'nats',
    servers: [url],
    namespace: 'holdline',
    replicas: 1,
    retention: { responses: HOUR, keyed: 24 * HOUR, broadcasts: 168 * HOUR, deadLetters: 720 * HOUR, ...retention },
  };
}

export interface OpenBroker extends AsyncDisposable {
  readonly broker: Broker;
  /** What the adapter has reported so far. */
  readonly problems: Error[];
}

interface OpenOptions {
  readonly service?: string;
  readonly instance?: string;
  readonly retention?: Partial<NatsBrokerConfig['retention']>;
  /** False: the connection is not waited for. */
  readonly connected?: boolean;
}

/** The adapter, connected. Closed when it goes out of scope. */
export async function openBroker(url: string, options: OpenOptions = {}): Promise<OpenBroker> {
  const problems: Error[] = [];
  const broker = await openJetStreamBroker({
    config: natsConfig(url, options.retention),
    service: options.service ?? 'orders',
    instance: options.instance ?? 'orders-1',
    report: (error) => problems.push(error),
  });
  const started = broker.start();
  if (options.connected !== false) await started;
  return { broker, problems, [Symbol.asyncDispose]: () => broker.close(5_000) };
}

/** A plain NATS client, for looking at the server and at what is stored. */
export interface Onlooker extends AsyncDisposable {
  readonly nc: NatsConnection;
  readonly manager: JetStreamManager;
  /** Messages in a stream, 0 where there is no such stream. */
  messages(stream: string): Promise<number>;
}

export async function openOnlooker(url: string): Promise<Onlooker> {
  const nc = await connect({ servers: url, maxReconnectAttempts: -1, reconnectTimeWait: 100 });
  const manager = await jetstreamManager(nc, { checkAPI: false, timeout: 20_000 });
  // A question that was on its way when the server was killed is answered by nobody, so it is asked again.
  const asking = await jetstreamManager(nc, { checkAPI: false, timeout: 2_000 });
  const count = async (stream: string) => {
    for await (const info of asking.streams.list()) {
      if (info.config.name === stream) return info.state.messages;
    }
    return 0;
  };
  return {
    nc,
    manager,
    messages: (stream) => eventually(() => count(stream), { what: 'the server to tell', timeoutMs: 30_000 }),
    [Symbol.asyncDispose]: () => nc.close(),
  };
}

/** A call from `orders` to `payments`, with what a test wants to be different. */
export function sampleAction(id: string, different: Partial<ActionEvent> = {}): ActionEvent {
  const now = Date.now();
  return {
    id,
    round: 1,
    caller: 'orders',
    service: 'payments',
    route: 'charge',
    method: 'POST',
    target: '/charges?x=1',
    headers: ['Host', 'payments', 'Content-Type', 'application/json'],
    trailers: [],
    body: Buffer.from('{"amount":5}'),
    hasBody: true,
    acceptedAt: now,
    deadline: now + HOUR,
    idempotent: false,
    retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [429, 502, 503, 504] },
    keyed: false,
    fingerprint: 'f',
    maxBody: 32 * 1024 * 1024,
    earlier: [],
    ...different,
  };
}

function sampleAnswer(text = 'paid'): Answer {
  return { status: 201, reason: 'Created', headers: ['X-A', '1'], trailers: [], body: Buffer.from(text) };
}

/** The response event of a lease's call. */
export function answered(lease: Lease, text?: string): ResponseEvent {
  return conclude(lease.action, { ...lease.progress, answer: sampleAnswer(text) }, 'answered', Date.now());
}

/** An instance of a callee that takes calls by hand: nothing happens to a lease unless the test does it. */
export class Hands {
  readonly taking: Taking;
  /** Every lease that was ever delivered. */
  readonly leases: Lease[] = [];
  readonly problems: Error[] = [];
  slots: number;
  #taken = 0;

  constructor(broker: Broker, { service = 'payments', slots = 1 }: { service?: string; slots?: number } = {}) {
    this.slots = slots;
    this.taking = broker.callee(service).take({
      free: () => Math.max(0, this.slots - (this.leases.length - this.#taken)),
      deliver: (lease) => this.leases.push(lease),
      report: (problem) => this.problems.push(problem),
    });
    this.taking.resume();
  }

  /** The next lease that no `next` has returned yet. It leaves its slot only by `freeSlot`. */
  async next(what = 'a lease', timeoutMs?: number): Promise<Lease> {
    const at = this.#returned++;
    return await eventually(
      () => {
        const lease = this.leases[at];
        if (lease === undefined) throw new Error(`${at} leases so far`);
        return lease;
      },
      { what, ...(timeoutMs !== undefined && { timeoutMs }) },
    );
  }
  #returned = 0;

  /** One of the leases has ended. */
  freeSlot(): void {
    this.#taken++;
    this.taking.more();
  }
}
