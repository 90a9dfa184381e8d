import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../../../../sidecar/broker/sqlite/database.ts';
import { DatabaseOutgrown } from '../../../../sidecar/broker/sqlite/failure.ts';
import { Transactions } from '../../../../sidecar/broker/sqlite/transaction.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

let folder: TempDir;
let db: DatabaseSync;
let transactions: Transactions;

beforeEach(async () => {
  folder = await createTempDir('transaction');
  db = openDatabase({ file: folder.join('holdline.db') });
  transactions = new Transactions(db);
});
afterEach(async () => {
  db.close();
  await folder.remove();
});

const names = () =>
  db
    .prepare('SELECT name FROM namespaces ORDER BY ns')
    .all()
    .map((row) => row['name']);
const add = (name: string) => db.prepare('INSERT INTO namespaces (name) VALUES (?)').run(name);
const synchronous = () => db.prepare('PRAGMA synchronous').get()?.['synchronous'];
const [FULL, NORMAL] = [2, 1];

test('a durable commit is synchronous, and one that need not be is not', () => {
  const level = (durable: boolean) => transactions.run(() => durable, synchronous);
  expect([level(true), level(false), level(false), level(true)]).toEqual([FULL, NORMAL, NORMAL, FULL]);
});

test('whether it is durable is asked again while the lock is waited for', () => {
  const other = openDatabase({ file: folder.join('holdline.db') });
  other.exec('BEGIN IMMEDIATE');
  let asked = 0;
  const level = transactions.run(() => {
    asked++;
    if (asked === 3) other.exec('COMMIT');
    return asked === 3;
  }, synchronous);
  expect(asked).toBe(3);
  expect(level).toBe(FULL);
  other.close();
});

test('what throws is not written', () => {
  expect(() =>
    transactions.run(
      () => true,
      () => {
        add('lost');
        throw new Error('no');
      },
    ),
  ).toThrow('no');
  expect(db.isTransaction).toBe(false);
  expect(names()).toEqual([]);
});

test('whoever remembers what was seen in it is told that it was rolled back', () => {
  let told = 0;
  const other = new Transactions(db, () => told++);
  other.run(
    () => false,
    () => add('kept'),
  );
  expect(told).toBe(0);
  const fail = () =>
    other.run(
      () => false,
      () => db.exec('SELECT no_such_function()'),
    );
  expect(fail).toThrow('no such function');
  expect(told).toBe(1);
});

test('a reader sees one state, whatever is committed meanwhile', () => {
  const other = openDatabase({ file: folder.join('holdline.db') });
  const seen = transactions.read(() => {
    const before = names();
    other.exec("INSERT INTO namespaces (name) VALUES ('new')");
    return [before, names()];
  });
  expect(seen).toEqual([[], []]);
  expect(names()).toEqual(['new']);
  other.close();
});

test('nothing is written into tables that a newer version has made', () => {
  const other = openDatabase({ file: folder.join('holdline.db') });
  other.exec('PRAGMA user_version = 99');
  other.close();
  expect(() =>
    transactions.run(
      () => true,
      () => add('lost'),
    ),
  ).toThrow(DatabaseOutgrown);
  expect(names()).toEqual([]);
});
