import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../../../../sidecar/broker/sqlite/database.ts';
import { Ledger } from '../../../../sidecar/broker/sqlite/ledger.ts';
import { Transactions } from '../../../../sidecar/broker/sqlite/transaction.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

let folder: TempDir;
let db: DatabaseSync;
let ledger: Ledger;
let transactions: Transactions;
const queue = 'mail/paid';
const day = 86_400_000;

beforeEach(async () => {
  folder = await createTempDir('subscription-table');
  db = openDatabase({ file: folder.join('holdline.db') });
  ledger = new Ledger(db, 1, { responses: day, keyed: day, broadcasts: day, deadLetters: day });
  transactions = new Transactions(db, () => ledger.subscriptions.forgetLooks());
  write(() =>
    ledger.subscriptions.subscribe({ service: 'mail', name: 'paid', topic: 'paid', from: { kind: 'new' } }, 1),
  );
});
afterEach(async () => {
  db.close();
  await folder.remove();
});

function write(body: () => void): void {
  transactions.run(() => false, body);
}

function publish(id: string, topic: string): void {
  ledger.publish({ id, topic, publisher: 'orders', at: 1, fingerprint: '', event: new Uint8Array(0) }, 1);
}

function delivered(): unknown[] {
  const sql =
    'SELECT broadcasts.id FROM deliveries JOIN broadcasts ON broadcasts.seq = deliveries.broadcast ORDER BY 1';
  return db
    .prepare(sql)
    .all()
    .map((row) => row['id']);
}

test('an event gets through that has the number of another one, which was looked at and not written in the end', () => {
  // As on a full disk: what is published is looked at within the transaction that stores it, and its commit fails.
  const fail = () =>
    write(() => {
      publish('other', 'not.wanted');
      expect(ledger.subscriptions.hasMore(queue)).toBe(false);
      throw new Error('the disk is full');
    });
  expect(fail).toThrow('the disk is full');
  write(() => publish('wanted', 'paid'));
  expect(ledger.subscriptions.hasMore(queue)).toBe(true);
  write(() => publish('next', 'paid'));
  write(() => ledger.subscriptions.open(queue, 8));
  expect(delivered()).toEqual(['next', 'wanted']);
});

test('what is not wanted is passed over, and what is opened in vain is opened again', () => {
  write(() => publish('other', 'not.wanted'));
  expect(ledger.subscriptions.hasMore(queue)).toBe(false);
  write(() => publish('wanted', 'paid'));
  const fail = () =>
    write(() => {
      ledger.subscriptions.open(queue, 8);
      throw new Error('the disk is full');
    });
  expect(fail).toThrow('the disk is full');
  expect(delivered()).toEqual([]);
  expect(ledger.subscriptions.hasMore(queue)).toBe(true);
  write(() => ledger.subscriptions.open(queue, 8));
  expect(delivered()).toEqual(['wanted']);
  expect(ledger.subscriptions.hasMore(queue)).toBe(false);
});
