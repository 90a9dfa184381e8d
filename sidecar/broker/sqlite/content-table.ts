import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { prepareAll } from './call-table.ts';

/** The call that a content stands for, and since when, ms since the epoch. */
export interface ContentRow {
  readonly id: string;
  readonly claimedAt: number;
}

/** Which call each content key of one namespace stands for. */
export class ContentTable {
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  byKey(caller: string, key: string): ContentRow | undefined {
    return this.#sql.byKey.get(this.#ns, caller, key) as unknown as ContentRow | undefined;
  }

  put(caller: string, key: string, { id, claimedAt }: ContentRow): void {
    this.#sql.put.run(this.#ns, caller, key, id, claimedAt);
  }

  /**
   * Deletes up to `limit` claims from before `before` of whose call nothing is left, of every namespace; how many there
   * were.
   */
  expire(before: number, limit: number): number {
    return Number(this.#sql.expire.run(before, limit).changes);
  }
}

const statements = {
  byKey: 'SELECT id, claimed_at AS claimedAt FROM content_keys WHERE ns = ? AND caller = ? AND key = ?',
  put: `INSERT INTO content_keys (ns, caller, key, id, claimed_at) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (ns, caller, key) DO UPDATE SET id = excluded.id, claimed_at = excluded.claimed_at`,
  expire: `DELETE FROM content_keys WHERE (ns, caller, key) IN (
    SELECT ns, caller, key FROM content_keys AS old WHERE claimed_at <= ?
      AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.ns = old.ns AND calls.id = old.id)
      AND NOT EXISTS (SELECT 1 FROM responses WHERE responses.ns = old.ns AND responses.id = old.id)
    LIMIT ?)`,
};
