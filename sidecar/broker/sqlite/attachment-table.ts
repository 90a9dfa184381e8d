import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { Attachment } from '../port.ts';
import { prepareAll } from './call-table.ts';

/** Who was led to the keyed calls of one namespace. */
export class AttachmentTable {
  readonly #ns: number;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, ns: number) {
    this.#ns = ns;
    this.#sql = prepareAll(db, statements);
  }

  /** The first time counts. */
  note(id: string, { instance, how, at }: Attachment): void {
    this.#sql.note.run(this.#ns, id, instance, how, at);
  }

  /** Oldest first. */
  of(id: string): Attachment[] {
    return this.#sql.of.all(this.#ns, id) as unknown as Attachment[];
  }

  /** Deletes up to `limit` from before `before`, of every namespace; how many there were. */
  expire(before: number, limit: number): number {
    return Number(this.#sql.expire.run(before, limit).changes);
  }
}

const statements = {
  note: 'INSERT INTO attachments (ns, id, instance, how, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING',
  of: 'SELECT instance, how, at FROM attachments WHERE ns = ? AND id = ? ORDER BY at',
  expire: `DELETE FROM attachments WHERE (ns, id, instance, how) IN (
    SELECT ns, id, instance, how FROM attachments WHERE at <= ? LIMIT ?)`,
};
