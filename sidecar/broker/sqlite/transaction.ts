import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { sleepSync } from './database.ts';
import { DatabaseOutgrown, failureOf } from './failure.ts';

/** How long a transaction waits for the write lock before it fails as busy, ms. */
const lockLimitMs = 5_000;
/** Between two tries of the write lock, ms. SQLite's own wait begins at 1 ms and soon takes 25, a commit takes 0.2. */
const lockRetryMs = 0.15;

/** Runs transactions that hold the write lock from their start, so that what they read stays true until they commit. */
export class Transactions {
  readonly #db: DatabaseSync;
  readonly #version: StatementSync;
  readonly #knownVersion: number;
  readonly #afterRollback: () => void;
  #synced = true;

  /** @param afterRollback what was seen within a transaction was never written, numbers of rows included */
  constructor(db: DatabaseSync, afterRollback: () => void = () => undefined) {
    this.#db = db;
    this.#afterRollback = afterRollback;
    // All waiting is done below.
    db.exec('PRAGMA busy_timeout = 0');
    this.#version = db.prepare('PRAGMA user_version');
    this.#knownVersion = this.#versionNow();
  }

  /**
   * Runs `body` and commits.
   * @param durable whether the commit is on the disk when this returns; otherwise it survives any process, but not a
   *   power loss. Asked before each try of the write lock, so that it may answer for what has come in meanwhile.
   * @throws {DatabaseOutgrown} a newer Holdline has changed the tables
   * @throws what `body` throws, or what SQLite throws; nothing is written then
   */
  run<T>(durable: () => boolean, body: () => T): T {
    patiently(() => {
      this.#sync(durable());
      this.#db.exec('BEGIN IMMEDIATE');
    });
    return this.#end(() => {
      this.#expectKnownTables();
      return body();
    });
  }

  /**
   * Runs `body`, which only reads, on one state of the file. In WAL mode a reader waits for nobody, except for the short
   * time in which another process recovers or removes the log of one that died.
   */
  read<T>(body: () => T): T {
    return patiently(() => {
      this.#db.exec('BEGIN');
      return this.#end(body);
    });
  }

  #end<T>(body: () => T): T {
    try {
      const result = body();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      // SQLite has rolled back by itself after some failures, such as a full disk.
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      this.#afterRollback();
      throw error;
    }
  }

  #expectKnownTables(): void {
    const version = this.#versionNow();
    if (version !== this.#knownVersion) throw new DatabaseOutgrown(version);
  }

  #versionNow(): number {
    return this.#version.get()?.['user_version'] as number;
  }

  #sync(durable: boolean): void {
    if (this.#synced === durable) return;
    this.#db.exec(`PRAGMA synchronous = ${durable ? 'FULL' : 'NORMAL'}`);
    this.#synced = durable;
  }
}

function patiently<T>(body: () => T): T {
  const limit = performance.now() + lockLimitMs;
  for (;;) {
    try {
      return body();
    } catch (error) {
      if (failureOf(error) !== 'busy' || performance.now() > limit) throw error;
      sleepSync(lockRetryMs);
    }
  }
}
