import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { prepareAll } from './call-table.ts';
import type { FinishArgs } from './protocol.ts';
import type { Outcome } from '../../model/call.ts';

/** A row of `responses` without its event. */
export interface ResponseRow {
  readonly seq: number;
  readonly id: string;
  readonly round: number;
  readonly caller: string;
  readonly service: string;
  readonly outcome: Outcome;
  readonly delivered: number;
}

export interface StoredResponse extends ResponseRow {
  readonly event: Uint8Array;
}

const columns = 'seq, id, round, caller, service, outcome, delivered';

/** The response events of one namespace, at most one per call. What is past its retention is not there any more. */
export class ResponseTable {
  readonly #db: DatabaseSync;
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#db = db;
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  byId(id: string, now: number): ResponseRow | undefined {
    return this.#sql.byId.get(this.#ns, id, now) as unknown as ResponseRow | undefined;
  }

  event(seq: number): Uint8Array {
    const row = this.#sql.event.get(seq);
    if (row === undefined) throw new Error(`response ${seq} is gone`);
    return row['event'] as Uint8Array;
  }

  /** Stores the response of a call in place of an earlier one; it gets a new `seq`, by which the waiting find it. */
  put(response: FinishArgs, expiresAt: number): void {
    const { id, round, caller, service, outcome, body, event } = response;
    this.remove(id);
    this.#sql.add.run(this.#ns, id, round, caller, service, outcome, expiresAt, event, body);
  }

  remove(id: string): void {
    this.#sql.remove.run(this.#ns, id);
  }

  markDelivered(id: string, round: number, caller: string): void {
    this.#sql.markDelivered.run(this.#ns, id, round, caller);
  }

  /** The highest `seq` so far; every response that is committed later has a higher one. */
  get newest(): number {
    return (this.#sql.newest.get()?.['seq'] as number | null) ?? 0;
  }

  /** What was stored for a caller after `seq`, in order. */
  since(caller: string, seq: number): ResponseRow[] {
    return this.#sql.since.all(this.#ns, caller, seq) as unknown as ResponseRow[];
  }

  /** Newest first. */
  list(filter: {
    caller?: string;
    service?: string;
    outcomes?: readonly Outcome[];
    limit: number;
    now: number;
  }): StoredResponse[] {
    const { caller = null, service = null, limit, now } = filter;
    const outcomes = filter.outcomes === undefined ? null : JSON.stringify(filter.outcomes);
    const statement = this.#db.prepare(
      `SELECT ${columns}, event FROM responses WHERE ns = :ns AND (:caller IS NULL OR caller = :caller) ` +
        'AND (:service IS NULL OR service = :service) AND expires_at > :now ' +
        'AND (:outcomes IS NULL OR outcome IN (SELECT value FROM json_each(:outcomes))) ORDER BY seq DESC LIMIT :limit',
    );
    return statement.all({ ns: this.#ns, caller, service, outcomes, limit, now }) as unknown as StoredResponse[];
  }

  /** Deletes up to `limit` responses that are past their retention, of every namespace; how many there were. */
  expire(now: number, limit: number): number {
    return Number(this.#sql.expire.run(now, limit).changes);
  }
}

const statements = {
  byId: `SELECT ${columns} FROM responses WHERE ns = ? AND id = ? AND expires_at > ?`,
  event: 'SELECT event FROM responses WHERE seq = ?',
  add: `INSERT INTO responses (ns, id, round, caller, service, outcome, expires_at, event, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
  remove: 'DELETE FROM responses WHERE ns = ? AND id = ?',
  markDelivered:
    'UPDATE responses SET delivered = 1 WHERE ns = ? AND id = ? AND round = ? AND caller = ? AND delivered = 0',
  // Not max(seq): the newest may have been replaced or have expired, and its number is not used again.
  newest: `SELECT seq FROM sqlite_sequence WHERE name = 'responses'`,
  since: `SELECT ${columns} FROM responses INDEXED BY responses_of_caller WHERE ns = ? AND caller = ? AND seq > ? ORDER BY seq`,
  expire: 'DELETE FROM responses WHERE seq IN (SELECT seq FROM responses WHERE expires_at <= ? LIMIT ?)',
};
