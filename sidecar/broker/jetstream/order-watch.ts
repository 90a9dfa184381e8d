import { JetStreamApiCodes } from '@nats-io/jetstream';
import type { ActionEvent } from '../../model/call.ts';
import { decodeAction, EventFormatError } from '../../model/codec.ts';
import type { Context } from './context.ts';
import type { Stored } from './lookup.ts';
import { OrderIndex } from './order-index.ts';
import { advance, type Line } from './order-queue.ts';
import { insist } from './settlement.ts';
import { isApiError } from './streams.ts';
import { orderToken, readOrdered } from './subjects.ts';
import { withdraw } from './withdrawal.ts';

/** Between two looks, ms. */
const LOOK_EVERY = 1_000;
/** Keys that are advanced at once. */
const AT_ONCE = 16;
/** Keys of which a look makes sure that their head is admitted. */
const KEYS_PER_LOOK = 250;
/** Calls that are read at once where they stand close together. */
const READ_AT_ONCE = 32;
/** So many that nobody has got to know make it worth while to read them before they have waited. */
const MANY_UNKNOWN = 500;
const WITHDRAWN_AT_ONCE = 500;
/** After this an overdue call that turned out to be under way is asked for again, ms. */
const ASK_AGAIN = 5_000;

/**
 * Keeps the queues of order keys moving: of the calls to one service, or of the deliveries of one subscription.
 *
 * A call is admitted when it is announced, and the next one when one has left. Announcements may be lost and sidecars killed between
 * two steps, so a look each second makes up for both: it gets to know the calls that have waited for a second, and makes sure,
 * some keys at a time, that each head is admitted. It ends calls whose deadline passes while they wait.
 */
export class OrderWatch {
  readonly #context: Context;
  readonly #line: Line;
  readonly #index = new OrderIndex();
  readonly #due = new Set<string>();
  readonly #advancing = new Set<string>();
  readonly #stops: (() => void)[];
  readonly #timer: NodeJS.Timeout;
  #round: Iterator<string> | undefined;
  /** Last sequence of the stream at the last look; undefined on a new connection. */
  #last: number | undefined;
  #looking = false;
  #closed = false;

  constructor(context: Context, line: Line) {
    this.#context = context;
    this.#line = line;
    const { connection } = context;
    this.#stops = [
      // One sidecar advances for each call that comes; whoever it is, all do the same.
      connection.subscribe(line.announced, (msg) => this.#wake(readOrdered(msg.subject).order), 'order'),
      connection.onUp(() => {
        // What happened while nobody could be told is found by a walk from the start.
        this.#last = undefined;
        this.#index.clear(1);
        this.#look();
      }),
    ];
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY);
  }

  /** Calls that wait behind another one of their key, about. */
  get waiting(): number {
    return this.#index.waiting;
  }

  /**
   * Lets the next one go: a call's round has ended, and its response is stored. Its action must be settled only after this, so
   * that somebody else does it where this process dies. Goes on through broker failures.
   * @throws {BrokerUnavailable} the broker is being closed
   */
  async leave(action: ActionEvent): Promise<void> {
    if (action.orderKey === undefined) return;
    const place = await insist(this.#context, () => this.#line.leave(action));
    await this.#advance(orderToken(action.orderKey), place);
  }

  /** For an action that was finished before, and that a killed server may have brought back with its place in the queue. */
  settle(action: ActionEvent, acknowledge: () => void): void {
    if (action.orderKey === undefined) acknowledge();
    else
      this.leave(action)
        .then(acknowledge)
        .catch((error: unknown) => this.#tell(error));
  }

  #wake(order: string): void {
    this.#due.add(order);
    this.#work();
  }

  #work(): void {
    for (const order of this.#due) {
      if (this.#advancing.size >= AT_ONCE || this.#closed) return;
      if (this.#advancing.has(order)) continue;
      this.#due.delete(order);
      this.#advancing.add(order);
      this.#advance(order)
        .finally(() => {
          this.#advancing.delete(order);
          this.#work();
        })
        .catch(this.#context.report);
    }
  }

  /** Never rejects: what fails now is done at the next look, or by somebody else. */
  async #advance(order: string, after = 0): Promise<void> {
    try {
      await advance(this.#context, this.#line, order, { index: this.#index, after });
    } catch (error) {
      this.#tell(error);
    }
  }

  #look(): void {
    const { connection, closing, report } = this.#context;
    if (this.#looking || !connection.connected || closing.aborted) return;
    this.#looking = true;
    this.#lookOnce()
      .catch((error: unknown) => this.#tell(error))
      .finally(() => {
        this.#looking = false;
      })
      .catch(report);
  }

  async #lookOnce(): Promise<void> {
    const manager = await this.#context.streams.manager();
    let state;
    try {
      ({ state } = await manager.streams.info(this.#line.stream));
    } catch (error) {
      // Nothing has ever had an order key here.
      if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return;
      throw error;
    }
    const many = state.last_seq - this.#index.next > MANY_UNKNOWN;
    const limit = many ? state.last_seq : (this.#last ?? state.last_seq);
    this.#last = state.last_seq;
    if (state.messages === 0) {
      this.#index.clear(state.last_seq + 1);
      return;
    }
    await this.#walk(limit);
    this.#round ??= this.#index.orders();
    for (let keys = 0; keys < KEYS_PER_LOOK; keys++) {
      const next = this.#round.next();
      if (next.done === true) {
        this.#round = undefined;
        break;
      }
      this.#wake(next.value);
    }
    await this.#endOverdue();
  }

  /** Gets to know what was stored up to `limit` and is still there. */
  async #walk(limit: number): Promise<void> {
    const { lookup, connection } = this.#context;
    const { stream, all } = this.#line;
    const { generation } = connection;
    let width = 1;
    while (this.#index.next <= limit && !this.#closed) {
      const from = this.#index.next;
      const wanted = Array.from({ length: Math.min(width, limit - from + 1) }, (_, at) => from + at);
      const found = await Promise.all(wanted.map((seq) => lookup.next(stream, seq, all)));
      // Begun on another connection: the index was emptied meanwhile.
      if (generation !== connection.generation) return;
      // Where some are gone, several questions have the same answer.
      const known = new Map(found.flatMap((stored) => (stored === undefined ? [] : [[stored.seq, stored] as const])));
      const last = found.at(-1);
      for (const stored of known.values()) if (stored.seq <= limit) this.#learn(stored);
      this.#index.next = last === undefined || last.seq > limit ? limit + 1 : last.seq + 1;
      width = known.size * 2 >= wanted.length && known.has(from) ? READ_AT_ONCE : 1;
    }
  }

  #learn(stored: Stored): void {
    const { order, caller, id } = readOrdered(stored.subject);
    const known = this.#index.add(order, { seq: stored.seq, caller, id, deadline: deadlineOf(stored.data) });
    if (!known) this.#wake(order);
  }

  async #endOverdue(): Promise<void> {
    const now = Date.now();
    const overdue = this.#index.overdue(now, WITHDRAWN_AT_ONCE);
    if (overdue.length === 0) return;
    const calls = overdue.map(({ order, call: { caller, id } }) => ({ callee: this.#line.service, caller, id, order }));
    const results = await withdraw(this.#context, calls, 'deadline-exceeded');
    for (const { call } of overdue) {
      // One that is gone stays in the index until it comes to the front.
      call.deadline = results.get(call.id) === 'started' ? now + ASK_AGAIN : Number.POSITIVE_INFINITY;
    }
  }

  #tell(error: unknown): void {
    const { connection, closing, report } = this.#context;
    // A broker that is away is told elsewhere.
    if (connection.connected && !closing.aborted) report(error as Error);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    for (const stop of this.#stops) stop();
  }
}

function deadlineOf(data: Uint8Array): number {
  try {
    return decodeAction(data).deadline;
  } catch (error) {
    // It is told when its turn comes.
    if (error instanceof EventFormatError) return Number.POSITIVE_INFINITY;
    throw error;
  }
}
