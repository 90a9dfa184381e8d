import { resolve } from 'node:path';
import { LinkedList } from '../../collections/linked-list.ts';
import type { BrokerConfig } from '../../config/schema.ts';
import type {
  BodyStore,
  Broker,
  BrokerStatus,
  CalleeLog,
  CallerLog,
  DurabilityPromise,
  OperatorLog,
  PublisherLog,
  SubscriberLog,
} from '../port.ts';
import { SqliteBodies } from './bodies.ts';
import { SqliteCallerLog } from './caller-log.ts';
import { SqlitePublisherLog, SqliteSubscription } from './broadcasts.ts';
import type { LeaseOwner, SqliteLease } from './lease.ts';
import { SqliteOperatorLog } from './operator-log.ts';
import { SqliteTaking } from './taking.ts';
import { DatabaseThread, type News } from './thread.ts';

/** While leases are held the thread is told this often that the adapter lives, ms. */
const beatMs = 1_000;
/** Larger ones go in chunks: a row is in memory as a whole, and a transaction that writes a large one keeps all others waiting. */
const inlineBody = 1024 * 1024;
/** SQLite takes values of up to 1 GB; an event and its place in a transaction must fit in memory several times. */
const largestBody = 256 * 1024 * 1024;

export interface OpenSqlite {
  readonly config: Extract<BrokerConfig, { kind: 'sqlite' }> & {
    /** The file grows no further than this, bytes; calls are refused from nine tenths of it. Absent: no limit. */
    readonly maxBytes?: number;
  };
  readonly service: string;
  /** Names this process in start marks. */
  readonly instance: string;
  /** Gets what goes wrong and is being retried. */
  readonly report: (error: Error) => void;
}

/**
 * Opens the embedded call log, a database file that all sidecars of one machine share.
 * @throws {DatabaseRefused} the file is damaged, is no database, is another program's, or is a newer Holdline's
 */
export async function openSqliteBroker(options: OpenSqlite): Promise<Broker> {
  const broker = new SqliteBroker(options);
  await broker.open();
  return broker;
}

class SqliteBroker implements Broker, LeaseOwner {
  readonly instance: string;
  readonly maxInlineBody = inlineBody;
  readonly maxEventBody = largestBody;
  readonly #options: OpenSqlite;
  readonly #callers = new Map<string, SqliteCallerLog>();
  readonly #takings: SqliteTaking[] = [];
  readonly #leases = new LinkedList<SqliteLease>();
  readonly #listeners = new Set<(status: BrokerStatus) => void>();
  #thread!: DatabaseThread;
  #operator!: OperatorLog;
  #bodies!: SqliteBodies;
  #status: BrokerStatus = { connected: true };
  #beat: NodeJS.Timeout | undefined;
  /** Leases were held since the last sign of life. */
  #hadLeases = false;
  #closed: Promise<void> | undefined;

  constructor(options: OpenSqlite) {
    this.#options = options;
    this.instance = options.instance;
  }

  async open(): Promise<void> {
    const { config, service, instance } = this.#options;
    const { namespace, retention, maxBytes } = config;
    this.#thread = await DatabaseThread.open(
      { file: resolve(config.file), namespace, service, instance, retention: { ...retention }, maxBytes },
      (news) => this.#hear(news),
      () => this.#beginAgain(),
    );
    this.#bodies = new SqliteBodies(this.#thread, this.#options.report);
    this.#operator = new SqliteOperatorLog(this.#thread);
  }

  /** The file was opened before; there is nothing to wait for. */
  start(): Promise<void> {
    return Promise.resolve();
  }

  get status(): BrokerStatus {
    return this.#status;
  }

  get bodies(): BodyStore {
    return this.#bodies;
  }

  get operator(): OperatorLog {
    return this.#operator;
  }

  onStatus(listener: (status: BrokerStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  promise(): Promise<DurabilityPromise> {
    return Promise.resolve({
      engine: 'SQLite',
      version: process.versions['sqlite'] ?? 'unknown',
      replicas: 1,
      storage: `file ${this.#options.config.file}`,
      survives: {
        sidecarKill: true,
        brokerKill: true,
        brokerNodeLoss: false,
        powerLossOfOneNode: true,
        powerLossOfAllNodes: true,
      },
      notes: [
        'Every acknowledged call is on the disk before it is acknowledged: it survives kill -9 of every process and a ' +
          'power failure, as far as the disk keeps its word about what it has written.',
        'One file on one machine: the loss of its disk loses every call that is not finished.',
        'All sidecars that share the log must run on this machine, and the file must not lie on a network file system.',
      ],
    });
  }

  caller(service: string): CallerLog {
    let log = this.#callers.get(service);
    if (log === undefined) {
      log = new SqliteCallerLog(this.#thread, service, this.#options.instance, this.#options.report);
      this.#callers.set(service, log);
    }
    return log;
  }

  callee(service: string): CalleeLog {
    return {
      take: (options) => this.#keep(new SqliteTaking({ ...this.#taker(), service }, options)),
    };
  }

  publisher(service: string): PublisherLog {
    return new SqlitePublisherLog(this.#thread, service);
  }

  subscriber(service: string): SubscriberLog {
    return {
      subscribe: (options) => this.#keep(new SqliteSubscription({ ...this.#taker(), service }, options)),
    };
  }

  #taker() {
    return { thread: this.#thread, number: this.#takings.length, owner: this };
  }

  #keep<T extends SqliteTaking>(taking: T): T {
    this.#takings.push(taking);
    return taking;
  }

  close(limitMs: number): Promise<void> {
    this.#closed ??= this.#close(limitMs);
    return this.#closed;
  }

  held(lease: SqliteLease): void {
    lease.place = this.#leases.add(lease);
    this.#hadLeases = true;
    this.#beat ??= setInterval(() => this.#giveSign(), beatMs);
  }

  ended(lease: SqliteLease): void {
    lease.place?.remove();
  }

  /** Also where no lease is held just now: of many short ones the others may see one at each look. */
  #giveSign(): void {
    if (this.#hadLeases) {
      this.#thread.tell({ op: 'beat' });
      this.#hadLeases = this.#leases.size > 0;
      return;
    }
    clearInterval(this.#beat);
    this.#beat = undefined;
  }

  async #close(limitMs: number): Promise<void> {
    for (const taking of this.#takings) await taking.stop();
    await this.#bodies.removals.done(limitMs);
    await this.#thread.close(limitMs);
    clearInterval(this.#beat);
    for (let lease = this.#leases.shift(); lease !== undefined; lease = this.#leases.shift()) lease.lose();
  }

  #hear(news: News): void {
    switch (news.kind) {
      case 'response':
        this.#callers.get(news.caller)?.awaited.found(news.id, news.event);
        return;
      case 'taken':
        this.#takings[news.taker]?.deliver(news.calls);
        return;
      case 'evicted':
        this.#loseLeases((lease) => lease.name.owner === news.owner);
        return;
      case 'health':
        this.#become(news.detail === undefined ? { connected: news.connected } : news);
        return;
      case 'problem':
        this.#options.report(new Error(news.message));
        return;
      default:
        news satisfies never;
    }
  }

  /** Leases belong to the thread that took them: others take what it held. */
  #beginAgain(): void {
    this.#loseLeases(() => true);
    for (const log of this.#callers.values()) log.awaited.listenAgain();
    for (const taking of this.#takings) taking.wantAgain();
  }

  #loseLeases(which: (lease: SqliteLease) => boolean): void {
    for (const lease of this.#leases.values().filter(which)) lease.lose();
  }

  #become({ connected, detail }: BrokerStatus): void {
    const changed = connected !== this.#status.connected;
    this.#status = detail === undefined ? { connected } : { connected, detail };
    if (changed) for (const listener of this.#listeners) listener(this.#status);
  }
}
