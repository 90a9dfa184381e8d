import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { BrokerUnavailable } from '../port.ts';

/** Stores stop when this part of the allowed size is used, so that the answers of what was accepted still fit. */
const storeShare = 0.9;

/** Refuses new calls before the file is as large as it may become. */
export class SizeLimit {
  readonly #maxBytes: number;
  readonly #size: StatementSync;

  constructor(db: DatabaseSync, maxBytes: number) {
    this.#maxBytes = maxBytes;
    this.#size = db.prepare(
      `SELECT (page_count - freelist_count) * page_size AS used
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size`,
    );
  }

  /** @throws {BrokerUnavailable} there is no room for a new call of this size */
  expectRoom(bytes: number): void {
    const used = this.#size.get()?.['used'] as number;
    const limit = this.#maxBytes * storeShare;
    if (used + bytes <= limit) return;
    throw new BrokerUnavailable(`the database is full: ${used} bytes of the ${Math.floor(limit)} for calls are used`, {
      retryAfter: 5000,
    });
  }
}
