import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { BodyTable } from '../../../../sidecar/broker/sqlite/body-table.ts';
import { openDatabase } from '../../../../sidecar/broker/sqlite/database.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

const now = 1_700_000_000_000;
const minute = 60_000;

let folder: TempDir;
let db: DatabaseSync;
let bodies: BodyTable;

beforeEach(async () => {
  folder = await createTempDir('bodies');
  db = openDatabase({ file: folder.join('holdline.db') });
  bodies = new BodyTable(db, 1);
});

afterEach(async () => {
  db.close();
  await folder.remove();
});

function put(id: string, chunks: number, at = now): void {
  for (let n = 0; n < chunks; n++) bodies.put(id, n, Buffer.from(`${id} ${n}`), at);
}

function refer(table: string, seq: number, id: string | null): void {
  db.prepare(`INSERT INTO ${table} (seq, event, body) VALUES (?, x'00', ?)`).run(seq, id);
}

const isThere = (id: string) => bodies.chunk(id, 0) !== undefined;

test('a body that nobody came to refer to goes when it was not written to for ten minutes', () => {
  put('left', 3);
  expect(bodies.sweep(now + 9 * minute, 100)).toBe(0);
  // It is still being written.
  bodies.put('left', 3, Buffer.from('more'), now + 9 * minute);
  expect(bodies.sweep(now + 11 * minute, 100)).toBe(0);
  expect(bodies.sweep(now + 20 * minute, 100)).toBe(4);
  expect(isThere('left')).toBe(false);
  expect(db.prepare('SELECT count(*) AS bodies FROM bodies').get()).toEqual({ bodies: 0 });
});

test('one that an event refers to stays, however old it is; when the last reference goes it goes at once', () => {
  put('used', 2);
  refer('actions', 1, 'used');
  refer('progress', 1, 'used');
  bodies.forget('used');
  expect(bodies.sweep(now + 1_000 * minute, 100)).toBe(0);
  db.exec('DELETE FROM actions');
  expect(bodies.sweep(now, 100)).toBe(0);
  expect(isThere('used')).toBe(true);
  db.exec('UPDATE progress SET body = NULL');
  expect(bodies.sweep(now, 100)).toBe(2);
  expect(isThere('used')).toBe(false);
});

test('one reference takes the place of another', () => {
  put('first', 1);
  put('second', 1);
  refer('progress', 1, 'first');
  db.exec(`UPDATE progress SET body = 'second'`);
  bodies.sweep(now + 1_000 * minute, 100);
  expect([isThere('first'), isThere('second')]).toEqual([false, true]);
});

test('many chunks go in portions, and those of others are not touched', () => {
  put('large', 25);
  put('other', 2);
  bodies.forget('large');
  expect([1, 2, 3, 4].map(() => bodies.sweep(now, 10))).toEqual([10, 10, 5, 0]);
  expect(isThere('other')).toBe(true);
});
