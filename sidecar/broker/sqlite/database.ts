import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { DatabaseRefused, failureOf } from './failure.ts';
import { applicationId, migrations } from './schema.ts';

/** Blocks this thread; only for the database's own thread and for waits of fractions of a millisecond to some. */
export function sleepSync(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

/** A file up to this size is checked as a whole when it is opened, bytes. A check reads about 500 MB a second. */
const checkedSize = 32 * 1024 * 1024;
const openingLimitMs = 10_000;

export interface DatabaseOptions {
  readonly file: string;
  /** The file grows no further than this, bytes; absent: until the disk is full. */
  readonly maxBytes?: number | undefined;
  /** The migrations; default: those of this version. */
  readonly steps?: readonly string[];
}

/**
 * Opens the log, creates the file and its folder where they are missing, and brings an older file to this version.
 *
 * The promise needs `synchronous = FULL`: in WAL mode a commit then returns after the log is on the disk
 * (https://www.sqlite.org/pragma.html#pragma_synchronous).
 *
 * @throws {DatabaseRefused} the file is damaged, is not a database, is another program's, or was written by a newer Holdline
 */
export function openDatabase(options: DatabaseOptions): DatabaseSync {
  const { file } = options;
  let db: DatabaseSync | undefined;
  try {
    mkdirSync(dirname(file), { recursive: true });
    db = new DatabaseSync(file, { timeout: openingLimitMs, enableForeignKeyConstraints: false });
    expectOurs(db, file, options.steps ?? migrations);
    // Several processes that open a new file at once wait here for each other; the first one makes the change.
    db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 16777216');
    db.exec('PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192');
    const pageSize = number(db, 'PRAGMA page_size');
    if (number(db, 'PRAGMA page_count') * pageSize <= checkedSize) expectSound(db, file);
    migrate(db, file, options.steps ?? migrations);
    if (options.maxBytes !== undefined) {
      db.exec(`PRAGMA max_page_count = ${Math.max(1, Math.floor(options.maxBytes / pageSize))}`);
    }
    return db;
  } catch (error) {
    db?.close();
    if (error instanceof DatabaseRefused) throw error;
    throw new DatabaseRefused(explain(file, error), { cause: error });
  }
}

function versionOf(db: DatabaseSync): number {
  return number(db, 'PRAGMA user_version');
}

function expectOurs(db: DatabaseSync, file: string, steps: readonly string[]): void {
  const tables = number(db, 'SELECT count(*) FROM sqlite_schema');
  if (tables === 0) return;
  if (number(db, 'PRAGMA application_id') !== applicationId) {
    throw new DatabaseRefused(`${file} is an SQLite database of another program; name another file for the broker`);
  }
  const version = versionOf(db);
  if (version > steps.length) {
    throw new DatabaseRefused(
      `${file} has schema version ${version}, and this Holdline knows versions up to ${steps.length}; ` +
        'it was written by a newer Holdline, so use that or a newer one',
    );
  }
}

function expectSound(db: DatabaseSync, file: string): void {
  const row = db.prepare('PRAGMA quick_check(1)').get();
  const verdict = row?.['quick_check'];
  if (verdict !== 'ok') throw new DatabaseRefused(`${file} is damaged: ${String(verdict)}; restore it from a copy`);
}

function migrate(db: DatabaseSync, file: string, steps: readonly string[]): void {
  if (versionOf(db) === steps.length) return;
  db.exec('BEGIN IMMEDIATE');
  try {
    // Read again: another process may have migrated while this one waited for the lock.
    expectOurs(db, file, steps);
    for (const step of steps.slice(versionOf(db))) db.exec(step);
    db.exec(`PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${steps.length}`);
    db.exec('COMMIT');
  } catch (error) {
    db.exec('ROLLBACK');
    throw error;
  }
}

function number(db: DatabaseSync, sql: string): number {
  const row = db.prepare(sql).get();
  const value = row === undefined ? undefined : Object.values(row)[0];
  if (typeof value !== 'number') throw new TypeError(`${sql} gave ${String(value)}`);
  return value;
}

function explain(file: string, error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  switch (failureOf(error)) {
    case 'not-a-database':
      return `${file} is not an SQLite database; name another file for the broker`;
    case 'corrupt':
      return `${file} is damaged: ${message}; restore it from a copy`;
    case 'busy':
      return `${file} has been locked by another process for ${openingLimitMs / 1000} s`;
    case 'full':
      return `${file} cannot be written, the disk is full: ${message}`;
    case 'disk':
    case 'outgrown':
    case 'other':
    default:
      return `${file} cannot be opened: ${message}`;
  }
}
