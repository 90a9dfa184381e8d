import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { prepareAll } from './call-table.ts';

/** A body to which nothing refers may be being written; nobody writes a chunk less often than this, ms. */
const writingTime = 10 * 60_000;

/**
 * The bodies of one namespace that are too large for their events, in chunks. Triggers (schema.ts) keep account of who
 * refers to them: a body that loses a reference becomes free, and goes with the next sweep unless there is another.
 */
export class BodyTable {
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  /** Stores a chunk; a second time does no harm. The body is kept for a while until something refers to it. */
  put(id: string, n: number, bytes: Uint8Array, now: number): void {
    this.#sql.touch.run(this.#ns, id, now + writingTime);
    const body = this.#sql.byId.get(this.#ns, id)!['body']!;
    this.#sql.putChunk.run(body, n, bytes);
  }

  chunk(id: string, n: number): Uint8Array | undefined {
    return this.#sql.chunk.get(this.#ns, id, n)?.['bytes'] as Uint8Array | undefined;
  }

  /** Frees a body, unless something refers to it. */
  forget(id: string): void {
    this.#sql.free.run(this.#ns, id);
  }

  /** Deletes up to `limit` chunks of free bodies, of every namespace; how many there were. */
  sweep(now: number, limit: number): number {
    let deleted = 0;
    while (deleted < limit) {
      const row = this.#sql.firstFree.get(now);
      if (row === undefined) break;
      const body = row['body']!;
      const id = row['id']!;
      if (this.#sql.anyUse.get({ id }) !== undefined) {
        this.#sql.hold.run(body);
        continue;
      }
      const count = Number(this.#sql.removeChunks.run(body, limit - deleted).changes);
      deleted += count;
      if (deleted < limit) this.#sql.remove.run(body);
    }
    return deleted;
  }

  /** Whether `sweep` would find anything. */
  hasFree(now: number): boolean {
    return this.#sql.firstFree.get(now) !== undefined;
  }
}

const statements = {
  touch: `INSERT INTO bodies (ns, id, free_at) VALUES (?, ?, ?)
    ON CONFLICT (ns, id) DO UPDATE SET free_at = excluded.free_at WHERE free_at IS NOT NULL`,
  byId: 'SELECT body FROM bodies WHERE ns = ? AND id = ?',
  putChunk: 'INSERT INTO chunks (body, n, bytes) VALUES (?, ?, ?) ON CONFLICT (body, n) DO NOTHING',
  chunk: 'SELECT bytes FROM chunks WHERE body = (SELECT body FROM bodies WHERE ns = ? AND id = ?) AND n = ?',
  free: 'UPDATE bodies SET free_at = 0 WHERE ns = ? AND id = ?',
  firstFree: 'SELECT body, id FROM bodies WHERE free_at <= ? ORDER BY free_at LIMIT 1',
  anyUse: `SELECT 1 FROM actions WHERE body = :id UNION ALL SELECT 1 FROM progress WHERE body = :id
    UNION ALL SELECT 1 FROM responses WHERE body = :id UNION ALL SELECT 1 FROM dead_letters WHERE body = :id LIMIT 1`,
  hold: 'UPDATE bodies SET free_at = NULL WHERE body = ?',
  removeChunks: 'DELETE FROM chunks WHERE rowid IN (SELECT rowid FROM chunks WHERE body = ? LIMIT ?)',
  remove: 'DELETE FROM bodies WHERE body = ?',
};
