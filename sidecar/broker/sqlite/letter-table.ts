import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { decodeDeadLetter, encodeDeadLetter, type StoredDeadLetter } from '../../model/codec.ts';
import type { DeadLetterQuery } from '../port.ts';
import { prepareAll } from './call-table.ts';

/** The dead letters of one namespace, each with the action event for its replay. */
export class LetterTable {
  readonly #db: DatabaseSync;
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#db = db;
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  put(letter: StoredDeadLetter, expiresAt: number): void {
    const { id, service, route, bodyRef } = letter.action;
    const event = encodeDeadLetter(letter);
    this.remove(id);
    this.#sql.add.run(this.#ns, id, service, route, letter.reason, expiresAt, event, bodyRef?.id ?? null);
  }

  byId(id: string, now: number): StoredDeadLetter | undefined {
    const event = this.#sql.byId.get(this.#ns, id, now)?.['event'];
    return event === undefined ? undefined : decodeDeadLetter(event as Uint8Array);
  }

  remove(id: string): void {
    this.#sql.remove.run(this.#ns, id);
  }

  /** Newest first. */
  list(query: DeadLetterQuery, now: number): StoredDeadLetter[] {
    const { service = null, route = null, reason = null, limit } = query;
    const statement = this.#db.prepare(
      'SELECT event FROM dead_letters WHERE ns = :ns AND (:service IS NULL OR service = :service) ' +
        'AND (:route IS NULL OR route = :route) AND (:reason IS NULL OR reason = :reason) AND expires_at > :now ' +
        'ORDER BY seq DESC LIMIT :limit',
    );
    const rows = statement.all({ ns: this.#ns, service, route, reason, now, limit });
    return rows.map((row) => decodeDeadLetter(row['event'] as Uint8Array));
  }

  /** Deletes up to `limit` letters that are past their retention, of every namespace; how many there were. */
  expire(now: number, limit: number): number {
    return Number(this.#sql.expire.run(now, limit).changes);
  }
}

const statements = {
  add: 'INSERT INTO dead_letters (ns, id, service, route, reason, expires_at, event, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)',
  byId: 'SELECT event FROM dead_letters WHERE ns = ? AND id = ? AND expires_at > ?',
  remove: 'DELETE FROM dead_letters WHERE ns = ? AND id = ?',
  expire: 'DELETE FROM dead_letters WHERE seq IN (SELECT seq FROM dead_letters WHERE expires_at <= ? LIMIT ?)',
};
