import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { prepareAll } from './call-table.ts';
import type { PublishArgs } from './protocol.ts';

/** An event without its bytes. */
export interface BroadcastRow {
  readonly seq: number;
  readonly id: string;
  readonly topic: string;
  readonly publisher: string;
  readonly at: number;
}

/** The broadcast events of one namespace. All writing runs within a transaction. */
export class BroadcastTable {
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  /** The fingerprint of the event with this id. */
  fingerprintOf(id: string): string | undefined {
    return this.#sql.fingerprint.get(this.#ns, id)?.['fingerprint'] as string | undefined;
  }

  add({ id, topic, publisher, at, fingerprint, event }: PublishArgs, expiresAt: number): void {
    this.#sql.add.run(this.#ns, id, topic, publisher, at, expiresAt, fingerprint, event);
  }

  /** Up to `limit` events after this one, in the order in which they were stored. */
  after(seq: number, limit: number): BroadcastRow[] {
    return this.#sql.after.all(this.#ns, seq, limit) as unknown as BroadcastRow[];
  }

  /** The bytes of an event that is there. */
  event(seq: number): Uint8Array {
    return this.#sql.event.get(seq)?.['event'] as Uint8Array;
  }

  /** How many events of each topic come after this one, and when the oldest of them was published. */
  countAfter(seq: number): { readonly topic: string; readonly count: number; readonly oldest: number }[] {
    return this.#sql.countAfter.all(this.#ns, seq) as unknown as { topic: string; count: number; oldest: number }[];
  }

  /** The last event that is there; 0 where there is none. */
  last(): number {
    return this.#sql.last.get(this.#ns)?.['seq'] as number;
  }

  /** The last event that was stored before this moment; 0 where there is none. */
  lastBefore(moment: number): number {
    return this.#sql.lastBefore.get(this.#ns, moment)?.['seq'] as number;
  }

  /** Deletes up to `limit` events that are past their retention and not being delivered, of every namespace; how many there were. */
  expire(now: number, limit: number): number {
    return Number(this.#sql.expire.run(now, limit).changes);
  }
}

const statements = {
  fingerprint: 'SELECT fingerprint FROM broadcasts WHERE ns = ? AND id = ?',
  add: `INSERT INTO broadcasts (ns, id, topic, publisher, at, expires_at, fingerprint, event)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
  after: `SELECT seq, id, topic, publisher, at FROM broadcasts INDEXED BY broadcasts_in_order
    WHERE ns = ? AND seq > ? ORDER BY seq LIMIT ?`,
  event: 'SELECT event FROM broadcasts WHERE seq = ?',
  // One answer for many events: a backlog of millions is asked for by everyone who reads metrics.
  countAfter: `SELECT topic, count(*) AS count, min(at) AS oldest FROM broadcasts INDEXED BY broadcasts_in_order
    WHERE ns = ? AND seq > ? GROUP BY topic`,
  last: 'SELECT coalesce(max(seq), 0) AS seq FROM broadcasts INDEXED BY broadcasts_in_order WHERE ns = ?',
  lastBefore: `SELECT coalesce(max(seq), 0) AS seq FROM broadcasts INDEXED BY broadcasts_in_order
    WHERE ns = ? AND at < ?`,
  expire: `DELETE FROM broadcasts WHERE seq IN (SELECT seq FROM broadcasts WHERE expires_at <= ?
    AND NOT EXISTS (SELECT 1 FROM deliveries WHERE deliveries.broadcast = broadcasts.seq) LIMIT ?)`,
};
