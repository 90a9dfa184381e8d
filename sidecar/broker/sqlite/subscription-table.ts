import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { OrderKey } from '../../config/config.ts';
import type { SubscriptionName } from '../../model/broadcast.ts';
import { deliveryId } from '../../model/call-id.ts';
import { noDeadline } from '../../model/call.ts';
import { decodeBroadcast, EventFormatError } from '../../model/codec.ts';
import { eventOrderKeyOf } from '../../policy/order.ts';
import { topicTest } from '../../policy/topic.ts';
import type { BroadcastRow, BroadcastTable } from './broadcast-table.ts';
import { prepareAll, queueOf, type CallTable } from './call-table.ts';
import type { SubscribeArgs } from './protocol.ts';

/** Events looked at in one go. */
const portion = 500;
/** So many events that are not wanted are passed over before the position is stored without a delivery. */
const passedOver = 5_000;
/** So many deliveries are opened in one go, about, when they wait for others in order. */
const atOnce = 1_000;

interface SubscriptionRow {
  readonly sub: number;
  readonly service: string;
  readonly name: string;
  readonly topic: string;
  readonly position: number;
  readonly ended_at: number | null;
  readonly order_by: string | null;
}

/** How far this process has looked without finding anything that is wanted. */
interface Look {
  readonly topic: string;
  readonly upTo: number;
  /** Something that is wanted comes after `upTo`. */
  readonly found: boolean;
}

/**
 * The durable subscriptions of one namespace. What a subscription has not had are the events after its position; a
 * delivery is opened, and the position moved on, only when somebody has room for it. All writing runs within a transaction.
 */
export class SubscriptionTable {
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;
  readonly #broadcasts: BroadcastTable;
  readonly #calls: CallTable;
  readonly #looks = new Map<string, Look>();

  constructor(db: DatabaseSync, ns: number, broadcasts: BroadcastTable, calls: CallTable) {
    this.#ns = ns;
    this.#broadcasts = broadcasts;
    this.#calls = calls;
    this.#sql = prepareAll(db, statements);
  }

  /** Makes the subscription where it is not there yet, else follows its topic. */
  subscribe({ service, name, topic, from, orderBy }: SubscribeArgs, now: number): void {
    const known = this.#byName(service, name);
    const order = orderBy === undefined ? null : JSON.stringify(orderBy);
    if (known !== undefined) {
      if (known.topic !== topic || known.order_by !== order) this.#sql.follow.run(topic, order, known.sub);
      return;
    }
    const position =
      from.kind === 'first'
        ? 0
        : from.kind === 'new'
          ? this.#broadcasts.last()
          : this.#broadcasts.lastBefore(now - from.ago);
    this.#sql.add.run(this.#ns, service, name, topic, position, now, order);
  }

  /** Whether `open` would do anything. Remembers how far it has looked. */
  hasMore(queue: string): boolean {
    const row = this.#byQueue(queue);
    if (row === undefined || row.ended_at !== null) return false;
    const look = this.#lookOf(row, queue);
    if (look.found) return true;
    const next = this.#scan(row, look.upTo, 1);
    const found = next.wanted.length > 0;
    this.#looks.set(queue, { topic: row.topic, upTo: found ? next.wanted[0]!.seq - 1 : next.upTo, found });
    return found || next.upTo - row.position >= passedOver;
  }

  /**
   * Opens deliveries until `limit` of them can be leased, or a good many wait for the one before them with their order key, and moves
   * the position on.
   */
  open(queue: string, limit: number): void {
    const row = this.#byQueue(queue);
    if (row === undefined || limit <= 0) return;
    let { upTo } = this.#lookOf(row, queue);
    let left = limit;
    for (let opened = 0; left > 0 && opened < atOnce;) {
      const { wanted, upTo: seen } = this.#scan(row, upTo, left);
      upTo = seen;
      for (const event of wanted) if (this.#deliver(row, event)) left--;
      opened += wanted.length;
      if (wanted.length === 0) break;
    }
    if (upTo > row.position) this.#sql.move.run(upTo, row.sub);
    this.#looks.delete(queue);
  }

  /** After a rollback: the number of an event that was looked at within that transaction will be that of another one. */
  forgetLooks(): void {
    this.#looks.clear();
  }

  /** Nothing of this queue is to be delivered now. */
  isEnded(queue: string): boolean {
    const row = this.#byQueue(queue);
    return row !== undefined && row.ended_at !== null;
  }

  end({ service, subscription }: SubscriptionName, now: number): void {
    this.#sql.setEnded.run(now, this.#ns, service, subscription);
  }

  resume({ service, subscription }: SubscriptionName): 'resumed' | 'active' | 'unknown' {
    const row = this.#byName(service, subscription);
    if (row === undefined) return 'unknown';
    if (row.ended_at === null) return 'active';
    this.#sql.setEnded.run(null, this.#ns, service, subscription);
    return 'resumed';
  }

  /** Forgets the subscription and its open deliveries. */
  remove({ service, subscription }: SubscriptionName): 'removed' | 'unknown' {
    const row = this.#byName(service, subscription);
    if (row === undefined) return 'unknown';
    const queue = queueOf(service, subscription);
    for (const forget of ['forgetDeliveries', 'forgetActions', 'forgetProgress', 'forgetCalls'] as const) {
      this.#sql[forget].run(this.#ns, queue);
    }
    this.#sql.remove.run(row.sub);
    this.#looks.delete(queue);
    return 'removed';
  }

  /** All of them, or those of one service. */
  all(service?: string): { service: string; subscription: string; topic: string; isEnded: boolean }[] {
    const rows = this.#sql.all.all(this.#ns, service ?? null, service ?? null) as unknown as SubscriptionRow[];
    return rows.map((row) => {
      return { service: row.service, subscription: row.name, topic: row.topic, isEnded: row.ended_at !== null };
    });
  }

  /** Events that are wanted and for which no delivery is open yet. */
  waiting(service: string, name: string): { readonly count: number; readonly oldest?: number } {
    const row = this.#byName(service, name);
    if (row === undefined) return { count: 0 };
    const wants = topicTest(row.topic);
    const wanted = this.#broadcasts.countAfter(row.position).filter(({ topic }) => wants(topic));
    if (wanted.length === 0) return { count: 0 };
    const count = wanted.reduce((sum, each) => sum + each.count, 0);
    return { count, oldest: Math.min(...wanted.map(({ oldest }) => oldest)) };
  }

  /** False where it waits for another one with its order key. */
  #deliver({ service, name, order_by }: SubscriptionRow, { seq, id, publisher, at }: BroadcastRow): boolean {
    const call = {
      id: deliveryId(id, service, name),
      round: 1,
      caller: publisher,
      service: queueOf(service, name),
      fingerprint: '',
      idempotent: true,
      keyed: false,
      acceptedAt: at,
      deadline: noDeadline,
      orderKey: order_by === null ? null : this.#orderKey(seq, JSON.parse(order_by) as OrderKey),
      body: null,
      event: nothing,
    };
    return this.#calls.add(call, seq);
  }

  /** An event that cannot be read is told of when it is delivered, and waits for nobody. */
  #orderKey(seq: number, orderBy: OrderKey): string | null {
    try {
      return eventOrderKeyOf(orderBy, decodeBroadcast(this.#broadcasts.event(seq))) ?? null;
    } catch (error) {
      if (error instanceof EventFormatError) return null;
      throw error;
    }
  }

  /** Up to `limit` wanted events after `from`; up to `upTo` all others are not wanted. */
  #scan(row: SubscriptionRow, from: number, limit: number): { wanted: BroadcastRow[]; upTo: number } {
    const wants = topicTest(row.topic);
    const wanted: BroadcastRow[] = [];
    let upTo = from;
    for (;;) {
      const events = this.#broadcasts.after(upTo, portion);
      for (const event of events) {
        upTo = event.seq;
        if (wants(event.topic)) wanted.push(event);
        if (wanted.length >= limit) return { wanted, upTo };
      }
      if (events.length < portion) return { wanted, upTo };
    }
  }

  #lookOf(row: SubscriptionRow, queue: string): Look {
    const look = this.#looks.get(queue);
    const stands = look !== undefined && look.topic === row.topic && look.upTo >= row.position;
    return stands ? look : { topic: row.topic, upTo: row.position, found: false };
  }

  #byQueue(queue: string): SubscriptionRow | undefined {
    const slash = queue.indexOf('/');
    return slash < 0 ? undefined : this.#byName(queue.slice(0, slash), queue.slice(slash + 1));
  }

  #byName(service: string, name: string): SubscriptionRow | undefined {
    return this.#sql.byName.get(this.#ns, service, name) as unknown as SubscriptionRow | undefined;
  }
}

const nothing = new Uint8Array(0);

const statements = {
  byName:
    'SELECT sub, service, name, topic, position, ended_at, order_by FROM subscriptions WHERE ns = ? AND service = ? AND name = ?',
  all: `SELECT sub, service, name, topic, position, ended_at, order_by FROM subscriptions
    WHERE ns = ? AND (? IS NULL OR service = ?) ORDER BY service, name`,
  setEnded: 'UPDATE subscriptions SET ended_at = ? WHERE ns = ? AND service = ? AND name = ?',
  remove: 'DELETE FROM subscriptions WHERE sub = ?',
  forgetDeliveries: 'DELETE FROM deliveries WHERE seq IN (SELECT seq FROM calls WHERE ns = ? AND service = ?)',
  forgetActions: 'DELETE FROM actions WHERE seq IN (SELECT seq FROM calls WHERE ns = ? AND service = ?)',
  forgetProgress: 'DELETE FROM progress WHERE seq IN (SELECT seq FROM calls WHERE ns = ? AND service = ?)',
  forgetCalls: 'DELETE FROM calls WHERE ns = ? AND service = ?',
  add: `INSERT INTO subscriptions (ns, service, name, topic, position, made_at, order_by)
    VALUES (?, ?, ?, ?, ?, ?, ?)`,
  follow: 'UPDATE subscriptions SET topic = ?, order_by = ? WHERE sub = ?',
  move: 'UPDATE subscriptions SET position = ? WHERE sub = ?',
};
