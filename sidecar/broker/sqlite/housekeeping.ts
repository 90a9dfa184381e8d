import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { Ledger } from './ledger.ts';
import type { Membership } from './membership.ts';
import type { Transactions } from './transaction.ts';

/** What is past its retention is looked for this often, ms. */
const expireEveryMs = 1_000;
/** Rows that one transaction touches at most: other writers wait meanwhile. */
const portion = 200;
/** The same for the chunks of bodies, each of which is some sixty pages. */
const portionOfChunks = 16;
/** A write-ahead log that has grown over this is cut back, bytes. SQLite itself starts anew after 4 MB where it can. */
const logSize = 32 * 1024 * 1024;

/** What a round of housekeeping came to. */
export interface Housekept {
  /** The file could be written. */
  readonly wrote: boolean;
  /** Others may have been waiting for what was written. */
  readonly news: boolean;
  /** There is more of it to do. */
  readonly more: boolean;
  /** This instance was taken for dead, and had leases under this number. */
  readonly evicted?: number;
}

/** What every process does for all now and then: ends the leases of the dead, concludes what is overdue, deletes what is old. */
export class Housekeeping {
  readonly #file: string;
  readonly #db: DatabaseSync;
  readonly #transactions: Transactions;
  readonly #ledger: Ledger;
  readonly #members: Membership;
  #expiredAt = 0;

  constructor(file: string, db: DatabaseSync, transactions: Transactions, ledger: Ledger, members: Membership) {
    this.#file = file;
    this.#db = db;
    this.#transactions = transactions;
    this.#ledger = ledger;
    this.#members = members;
  }

  /** @param probe write in any case, to see whether the file can be written again */
  run(now: number, probe: boolean): Housekept {
    const { sign, gone } = this.#transactions.read(() => this.#members.look());
    const overdue = this.#transactions.read(() => this.#ledger.calls.overdue(now, 1).length > 0);
    // A clock that was set back must not keep everything until it has caught up.
    const expire = now - this.#expiredAt >= expireEveryMs || now < this.#expiredAt;
    if (!sign && gone.length === 0 && !overdue && !expire && !probe) return { wrote: false, news: false, more: false };
    const done = this.#transactions.run(
      () => overdue,
      () => ({
        signed: !sign || this.#members.giveSign(),
        freed: gone.map((instance) => this.#members.evict(instance)).reduce((sum, count) => sum + count, 0),
        concluded: overdue ? this.#ledger.concludeOverdue(now, portion) : 0,
        expired: expire ? this.#ledger.expire(now, portion) : 0,
        swept: expire ? this.#ledger.bodies.sweep(now, portionOfChunks) : 0,
      }),
    );
    for (const instance of gone) this.#members.bury(instance);
    const more = done.concluded >= portion || done.expired >= portion || done.swept >= portionOfChunks;
    if (expire && !more) this.#finishExpiry(now);
    const result = { wrote: true, news: done.freed + done.concluded > 0, more };
    if (done.signed) return result;
    const evicted = this.#members.owner;
    this.#members.leave();
    return evicted === undefined ? result : { ...result, evicted };
  }

  #finishExpiry(now: number): void {
    this.#expiredAt = now;
    const log = statSync(`${this.#file}-wal`, { throwIfNoEntry: false });
    if (log !== undefined && log.size > logSize) this.#db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  }
}
