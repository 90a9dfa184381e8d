import { randomUUID } from 'node:crypto';
import { readdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { prepareAll } from './call-table.ts';
import { failureOf } from './failure.ts';

/** A lock file that no row names and nobody holds is deleted when it is older than this, ms. */
const strayAge = 60_000;

/** An instance row as an observer sees it. */
export interface InstanceRow {
  readonly owner: number;
  readonly token: string;
  readonly beat: number;
}

/**
 * Who takes leases from this file, and who of them lives.
 *
 * Each instance holds an operating system lock on a file of its own for as long as its process lives; the system drops
 * the lock when the process ends, however it ends. Node has no call for such locks, but SQLite locks its files by them,
 * so the lock file is an empty SQLite database that is held in an exclusive transaction.
 */
export class Instances {
  readonly #file: string;
  readonly #sql: Record<keyof typeof statements, StatementSync>;

  constructor(db: DatabaseSync, file: string) {
    this.#file = file;
    this.#sql = prepareAll(db, statements);
  }

  /** Registers an instance that is locked by `lock`; runs within a transaction. */
  register(lock: LifeLock, service: string, instance: string): number {
    return Number(this.#sql.add.run(lock.token, service, instance).lastInsertRowid);
  }

  /** Counts a sign of life; false when the instance was taken for dead. */
  beat(owner: number): boolean {
    return this.#sql.beat.run(owner).changes === 1;
  }

  /** Forgets an instance; its leases are the caller's business. False when it was forgotten already. */
  remove(owner: number): boolean {
    return this.#sql.remove.run(owner).changes === 1;
  }

  /** The other instances, with those that hold leases told apart. */
  others(owner: number | undefined): { readonly row: InstanceRow; readonly holding: boolean }[] {
    return this.#sql.others.all(owner ?? -1).map((row) => ({
      row: row as unknown as InstanceRow,
      holding: row['holding'] === 1,
    }));
  }

  all(): { readonly service: string; readonly token: string }[] {
    return this.#sql.all.all() as unknown as { service: string; token: string }[];
  }

  /** Takes a lock for a new instance. */
  lock(): LifeLock {
    return new LifeLock(this.#file);
  }

  /** Whether the process of an instance is there; what cannot be told counts as alive. */
  isAlive(token: string): boolean {
    return isLocked(lockFile(this.#file, token));
  }

  /** Deletes the lock file of an instance that is gone. */
  bury(token: string): void {
    rmSync(lockFile(this.#file, token), { force: true });
  }

  /** Deletes lock files that a process left behind which died between making one and registering. */
  sweepStrays(now: number): void {
    const prefix = `${basename(this.#file)}-live-`;
    const known = new Set(this.#sql.tokens.all().map((row) => row['token'] as string));
    for (const name of readdirSync(dirname(this.#file))) {
      if (!name.startsWith(prefix)) continue;
      const path = join(dirname(this.#file), name);
      const age = now - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? now);
      if (!known.has(name.slice(prefix.length)) && age > strayAge && !isLocked(path)) rmSync(path, { force: true });
    }
  }
}

// A database that nobody refers to is closed by the garbage collector, and its lock would be gone.
const held = new Set<LifeLock>();

/** The sign that this instance lives; it holds until it is released or the process ends. */
export class LifeLock {
  readonly token = randomUUID();
  readonly #path: string;
  readonly #db: DatabaseSync;

  constructor(file: string) {
    this.#path = lockFile(file, this.token);
    this.#db = new DatabaseSync(this.#path);
    // Nothing is ever written, so the rollback journal that a transaction begins with need not be a file.
    this.#db.exec('PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE');
    held.add(this);
  }

  release(): void {
    held.delete(this);
    this.#db.close();
    rmSync(this.#path, { force: true });
  }
}

function lockFile(file: string, token: string): string {
  return `${file}-live-${token}`;
}

function isLocked(path: string): boolean {
  let db: DatabaseSync | undefined;
  try {
    // Read-only, because anything else would make a file that is missing. A missing file belongs to nobody.
    db = new DatabaseSync(path, { readOnly: true, timeout: 0 });
    db.prepare('SELECT count(*) FROM sqlite_schema').get();
    return false;
  } catch (error) {
    const missing = statSync(path, { throwIfNoEntry: false }) === undefined;
    return !missing || failureOf(error) === 'busy';
  } finally {
    db?.close();
  }
}

const statements = {
  add: 'INSERT INTO instances (token, service, instance) VALUES (?, ?, ?)',
  beat: 'UPDATE instances SET beat = beat + 1 WHERE owner = ?',
  remove: 'DELETE FROM instances WHERE owner = ?',
  others: `SELECT owner, token, beat, EXISTS (SELECT 1 FROM calls INDEXED BY calls_held
    WHERE calls.owner IS NOT NULL AND calls.owner = instances.owner) AS holding FROM instances WHERE owner <> ?`,
  tokens: 'SELECT token FROM instances',
  all: 'SELECT service, token FROM instances',
};
