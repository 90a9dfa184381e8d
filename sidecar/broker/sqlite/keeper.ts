import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { BrokerUnavailable } from '../port.ts';
import { Bell } from './bell.ts';
import { read, write } from './commands.ts';
import { openDatabase } from './database.ts';
import { DatabaseRefused, failureOf, unavailable } from './failure.ts';
import { GroupCommit } from './group-commit.ts';
import { Housekeeping } from './housekeeping.ts';
import { Instances } from './instances.ts';
import { Ledger } from './ledger.ts';
import { Membership } from './membership.ts';
import { effectOf, type FromThread, type Notice, type Request, type ThreadOptions, type ToThread } from './protocol.ts';
import { SizeLimit } from './size-limit.ts';
import { Takers } from './takers.ts';
import { Transactions } from './transaction.ts';
import { Waiters } from './waiters.ts';

/** How often the file is looked at without a ring: for rings that were lost, for the dead, for what is overdue. ms */
const lookEveryMs = 250;
/** The same where rings of other processes cannot be heard, ms. */
const lookOftenMs = 20;
/** Pause between two portions of housekeeping where one was not enough, ms. */
const soonMs = 20;

/** What the database thread has of its adapter. */
export interface Line {
  send(messages: readonly FromThread[], transfer: readonly ArrayBuffer[]): void;
  /** The next message that has come in meanwhile. */
  receive(): ToThread | undefined;
}

/**
 * The database thread's work: does what the adapter asks, in groups, and looks for what other processes have written.
 * It answers a request after its commit, never before.
 */
export class Keeper {
  readonly #options: ThreadOptions;
  readonly #line: Line;
  readonly #db: DatabaseSync;
  readonly #transactions: Transactions;
  readonly #ledger: Ledger;
  readonly #members: Membership;
  readonly #waiters: Waiters;
  readonly #takers: Takers;
  readonly #size: SizeLimit | undefined;
  readonly #housekeeping: Housekeeping;
  readonly #versionOfData: StatementSync;
  readonly #group: GroupCommit;
  readonly #bell: Bell;
  readonly #timer: NodeJS.Timeout;
  #reads: Request[] = [];
  #outbox: FromThread[] = [];
  #soon: NodeJS.Timeout | undefined;
  #seenVersion = -1;
  #health: { readonly connected: boolean; readonly detail?: string } = { connected: true };
  #closed = false;

  /** @throws {DatabaseRefused} */
  constructor(options: ThreadOptions, line: Line) {
    this.#options = options;
    this.#line = line;
    const db = openDatabase(options);
    this.#db = db;
    this.#transactions = new Transactions(db, () => this.#ledger.subscriptions.forgetLooks());
    const ns = this.#namespace(options.namespace);
    this.#ledger = new Ledger(db, ns, options.retention);
    this.#members = new Membership(new Instances(db, options.file), this.#ledger.calls, options);
    this.#waiters = new Waiters(this.#ledger, (id, caller, event) =>
      this.#tell({ kind: 'response', id, caller, event }),
    );
    this.#takers = new Takers(this.#ledger.calls, this.#ledger.subscriptions, () =>
      this.#turn(() => this.#lookAround()),
    );
    this.#size = options.maxBytes === undefined ? undefined : new SizeLimit(db, options.maxBytes);
    this.#housekeeping = new Housekeeping(options.file, db, this.#transactions, this.#ledger, this.#members);
    this.#versionOfData = db.prepare('PRAGMA data_version');
    this.#group = this.#makeGroup();
    this.#bell = new Bell(
      options.file,
      () => this.#turn(() => this.#heardRing()),
      (problem) => this.#turn(() => this.#problem(problem)),
    );
    this.#timer = setInterval(() => this.#turn(() => this.#lookAfter()), this.#bell.works ? lookEveryMs : lookOftenMs);
    this.#tell({ kind: 'opened' });
    // What was left behind by processes that died while nobody else was there.
    this.#turn(() => this.#lookAfter());
  }

  /**
   * Only the first sidecar of a namespace writes here: a start must not fail because another process holds the write lock.
   * @throws {DatabaseRefused} a new namespace could not be written
   */
  #namespace(name: string): number {
    const known = namespaceOf(this.#db, name);
    if (known !== undefined) return known;
    try {
      return this.#transactions.run(
        () => true,
        () => {
          this.#db.prepare('INSERT INTO namespaces (name) VALUES (?) ON CONFLICT DO NOTHING').run(name);
          return namespaceOf(this.#db, name)!;
        },
      );
    } catch (error) {
      throw new DatabaseRefused(unavailable(this.#options.file, error).message, { cause: error });
    }
  }

  /** Nothing more will be done. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Does what a message asks, and all that has come in after it. */
  handle(message: ToThread): void {
    this.#turn(() => {
      this.#accept(message);
      this.#drain();
      this.#group.flush();
      const reads = this.#reads;
      this.#reads = [];
      for (const request of reads) this.#read(request);
      if (!this.#closed) this.#lookAround();
    });
  }

  /** One turn of the thread: what is told in it goes out as one message. */
  #turn(work: () => void): void {
    if (this.#closed) return;
    try {
      work();
    } catch (error) {
      this.#failed(error);
    }
    const messages = this.#outbox;
    if (messages.length === 0) return;
    this.#outbox = [];
    this.#line.send(messages, messages.flatMap(buffersOf));
  }

  #tell(message: FromThread): void {
    this.#outbox.push(message);
  }

  #accept(message: ToThread): void {
    if (!('n' in message)) this.#notice(message);
    else if (effectOf(message).write === 'none') this.#reads.push(message);
    else this.#group.add(message);
  }

  #drain(): void {
    for (let next = this.#line.receive(); next !== undefined; next = this.#line.receive()) this.#accept(next);
  }

  #notice(notice: Notice): void {
    switch (notice.op) {
      case 'await':
        return this.#waiters.add(notice.caller, notice.id, notice.round);
      case 'forget':
        return this.#waiters.remove(notice.caller, notice.id);
      case 'want':
        return this.#takers.want(notice);
      case 'beat':
        return this.#members.alive();
      default:
        return notice satisfies never;
    }
  }

  #makeGroup(): GroupCommit {
    return new GroupCommit({
      transactions: this.#transactions,
      drain: () => this.#drain(),
      apply: (request) => write(this.#ledger, this.#size, request, Date.now()),
      join: () => this.#take(),
      committed: (rings) => {
        if (rings) this.#bell.ring();
        this.#setHealth({ connected: true });
      },
      failed: (error) => this.#failed(error),
      answer: ({ n }, value) => this.#tell({ kind: 'done', n, value }),
      refuse: (request, error) => this.#refuse(request, error),
    });
  }

  #read(request: Request): void {
    if (request.op === 'close') return this.#close(request.n);
    try {
      const value = this.#transactions.read(() => read(this.#ledger, this.#members, request, Date.now()));
      this.#tell({ kind: 'done', n: request.n, value });
    } catch (error) {
      this.#failed(error);
      this.#refuse(request, error);
    }
  }

  /** Leases what is wanted and ready, within a transaction. */
  #take(takers = this.#takers.ready(Date.now())): { readonly committed: () => void } | undefined {
    if (takers.length === 0) return undefined;
    this.#members.prepare();
    const owner = this.#members.join();
    const taken = this.#takers.take(takers, owner, Date.now());
    return {
      committed: () => {
        this.#members.joined(owner);
        for (const [taker, calls] of taken) {
          this.#takers.given(taker, calls.length);
          this.#tell({ kind: 'taken', taker, calls });
        }
      },
    };
  }

  #lookAround(): void {
    const now = Date.now();
    if (!this.#waiters.isEmpty) this.#transactions.read(() => this.#waiters.look(now));
    const takers = this.#transactions.read(() => this.#takers.ready(now));
    if (takers.length > 0) {
      this.#transactions
        .run(
          () => false,
          () => this.#take(takers),
        )
        ?.committed();
    }
    this.#takers.planNext(now);
  }

  #heardRing(): void {
    // One's own ring is heard as well, and several at once are one piece of news.
    const version = this.#dataVersion();
    if (version === this.#seenVersion) return;
    this.#seenVersion = version;
    this.#lookAround();
  }

  /** The regular look: for lost rings, the dead, the overdue and the expired. */
  #lookAfter(): void {
    this.#bell.check();
    const done = this.#housekeeping.run(Date.now(), this.#health.detail !== undefined);
    if (done.wrote) this.#setHealth({ connected: true });
    if (done.news) this.#bell.ring();
    if (done.evicted !== undefined) this.#tell({ kind: 'evicted', owner: done.evicted });
    if (done.more) this.#soon ??= setTimeout(() => this.#turn(() => this.#lookAgain()), soonMs);
    this.#seenVersion = this.#dataVersion();
    this.#lookAround();
  }

  #lookAgain(): void {
    this.#soon = undefined;
    this.#lookAfter();
  }

  #refuse({ n }: Request, error: unknown): void {
    const { message, retryAfter } = error instanceof BrokerUnavailable ? error : unavailable(this.#options.file, error);
    this.#tell({ kind: 'failed', n, message, retryAfter });
  }

  #failed(error: unknown): void {
    const failure = failureOf(error);
    if (failure === 'busy' || failure === 'other') {
      this.#problem(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    const detail = unavailable(this.#options.file, error).message;
    // What fails goes on failing at each retry; it is told once.
    if (detail !== this.#health.detail) this.#problem(new Error(detail));
    // A full file still reads and answers; the others mean that nothing can be relied on.
    this.#setHealth({ connected: failure === 'full', detail });
  }

  #problem(error: Error): void {
    const cause = error.cause instanceof Error ? `: ${error.cause.message}` : '';
    this.#tell({ kind: 'problem', message: `${error.message}${cause}` });
  }

  #setHealth(health: { readonly connected: boolean; readonly detail?: string }): void {
    if (health.connected === this.#health.connected && health.detail === this.#health.detail) return;
    this.#health = health;
    this.#tell({ kind: 'health', ...health });
  }

  #dataVersion(): number {
    return this.#versionOfData.get()?.['data_version'] as number;
  }

  #close(n: number): void {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
    this.#takers.close();
    this.#group.close();
    try {
      this.#transactions.run(
        () => true,
        () => this.#members.resign(),
      );
      this.#bell.ring();
    } catch (error) {
      // The others find out by themselves that this instance is gone.
      this.#failed(error);
    }
    this.#members.leave();
    this.#bell.close();
    this.#db.close();
    this.#tell({ kind: 'done', n, value: undefined });
    this.#closed = true;
  }
}

function namespaceOf(db: DatabaseSync, name: string): number | undefined {
  return db.prepare('SELECT ns FROM namespaces WHERE name = ?').get(name)?.['ns'] as number | undefined;
}

/** Events that go to the adapter are given away instead of copied. */
function buffersOf(message: FromThread): ArrayBuffer[] {
  if (message.kind === 'done' && message.value instanceof Uint8Array) return [bufferOf(message.value)];
  if (message.kind === 'response') return [bufferOf(message.event)];
  if (message.kind === 'taken') {
    return message.calls.flatMap((call) =>
      call.progress === undefined ? [bufferOf(call.event)] : [bufferOf(call.event), bufferOf(call.progress)],
    );
  }
  return [];
}

function bufferOf(bytes: Uint8Array): ArrayBuffer {
  return bytes.buffer as ArrayBuffer;
}
