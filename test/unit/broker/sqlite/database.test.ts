import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../../../../sidecar/broker/sqlite/database.ts';
import { DatabaseRefused } from '../../../../sidecar/broker/sqlite/failure.ts';
import { migrations } from '../../../../sidecar/broker/sqlite/schema.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

let folder: TempDir;
let file: string;

beforeEach(async () => {
  folder = await createTempDir('database');
  file = folder.join('holdline.db');
});
afterEach(() => folder.remove());

function pragma(db: DatabaseSync, name: string): unknown {
  return Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
}

/** Opens the file as any other program would. */
function withDatabase(work: (db: DatabaseSync) => void): void {
  const db = new DatabaseSync(file);
  work(db);
  db.close();
}

/** The tables without what SQLite writes about the moment. */
function schemaOf(db: DatabaseSync): unknown[] {
  return db.prepare("SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY name").all();
}

test('a new file is made with its folder, and every commit reaches the disk', () => {
  file = folder.join('not', 'there', 'yet.db');
  const db = openDatabase({ file });
  expect(existsSync(file)).toBe(true);
  expect(pragma(db, 'journal_mode')).toBe('wal');
  // 2 is FULL (https://www.sqlite.org/pragma.html#pragma_synchronous).
  expect(pragma(db, 'synchronous')).toBe(2);
  expect(pragma(db, 'user_version')).toBe(migrations.length);
  db.close();
});

test('an existing file keeps what is in it', () => {
  const db = openDatabase({ file });
  db.exec("INSERT INTO namespaces (name) VALUES ('kept')");
  db.close();
  const again = openDatabase({ file });
  expect(again.prepare('SELECT name FROM namespaces').all()).toEqual([{ name: 'kept' }]);
  again.close();
});

test('two who open a new file at once both get it', () => {
  const one = openDatabase({ file });
  const two = openDatabase({ file });
  expect(schemaOf(one)).toEqual(schemaOf(two));
  one.close();
  two.close();
});

test('a file of an earlier version is brought forward step by step, with what is in it', () => {
  const steps = ['CREATE TABLE a (x)', 'ALTER TABLE a ADD COLUMN y DEFAULT 7', 'CREATE TABLE b (z)'];
  const old = openDatabase({ file, steps: steps.slice(0, 1) });
  old.exec('INSERT INTO a (x) VALUES (1)');
  old.close();
  const db = openDatabase({ file, steps });
  expect(pragma(db, 'user_version')).toBe(3);
  expect(db.prepare('SELECT * FROM a').all()).toEqual([{ x: 1, y: 7 }]);
  expect(db.prepare('SELECT * FROM b').all()).toEqual([]);
  db.close();
});

test('a step that fails leaves the file as it was', () => {
  openDatabase({ file, steps: ['CREATE TABLE a (x)'] }).close();
  const broken = ['CREATE TABLE a (x)', 'CREATE TABLE b (x); NOT SQL'];
  expect(() => openDatabase({ file, steps: broken })).toThrow(DatabaseRefused);
  const db = openDatabase({ file, steps: ['CREATE TABLE a (x)'] });
  expect(pragma(db, 'user_version')).toBe(1);
  expect(schemaOf(db)).toHaveLength(1);
  db.close();
});

test('a file of a newer version is refused and left alone', () => {
  openDatabase({ file }).close();
  withDatabase((db) => db.exec(`PRAGMA user_version = ${migrations.length + 1}`));
  const before = readFileSync(file);
  expect(() => openDatabase({ file })).toThrow(
    new DatabaseRefused(
      `${file} has schema version ${migrations.length + 1}, and this Holdline knows versions up to ${migrations.length}; ` +
        'it was written by a newer Holdline, so use that or a newer one',
    ),
  );
  expect(readFileSync(file).equals(before)).toBe(true);
});

test('a database of another program is refused and left alone', () => {
  withDatabase((db) => db.exec('CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)'));
  const before = readFileSync(file);
  expect(() => openDatabase({ file })).toThrow(/is an SQLite database of another program/);
  expect(readFileSync(file).equals(before)).toBe(true);
});

test('a file that is no database is refused and left alone', () => {
  writeFileSync(file, 'A letter to my aunt, which is long enough to be taken for a header.\n'.repeat(20));
  const before = readFileSync(file);
  expect(() => openDatabase({ file })).toThrow(/is not an SQLite database/);
  expect(readFileSync(file).equals(before)).toBe(true);
});

test('a folder in the place of the file is refused', () => {
  mkdirSync(file);
  expect(() => openDatabase({ file })).toThrow(/cannot be opened/);
});

test('a damaged file is refused', () => {
  const db = openDatabase({ file });
  const insert = db.prepare(
    "INSERT INTO dead_letters (ns, id, service, route, reason, expires_at, event) VALUES (1, ?, '', '', '', 0, ?)",
  );
  for (let i = 0; i < 200; i++) insert.run(`id-${i}`, new Uint8Array(1000));
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
  db.close();
  const bytes = readFileSync(file);
  bytes.fill(0x5a, 4096 * 30, 4096 * 40);
  writeFileSync(file, bytes);
  expect(() => openDatabase({ file })).toThrow(/is damaged/);
});

test('the size limit is the file’s', () => {
  const db = openDatabase({ file, maxBytes: 400_000 });
  const insert = db.prepare('INSERT INTO actions (seq, event) VALUES (?, ?)');
  expect(() => {
    for (let i = 0; i < 50; i++) insert.run(i, new Uint8Array(20_000));
  }).toThrow(/full/);
  db.close();
});
