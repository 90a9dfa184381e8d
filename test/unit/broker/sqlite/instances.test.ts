import { readdirSync, utimesSync, writeFileSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { openDatabase } from '../../../../sidecar/broker/sqlite/database.ts';
import { Instances } from '../../../../sidecar/broker/sqlite/instances.ts';
import { eventually } from '../../../support/eventually.ts';
import { ManagedProcess } from '../../../support/managed-process.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

const module = `${import.meta.dirname}/../../../../sidecar/broker/sqlite/instances.ts`;

let folder: TempDir;
let file: string;
let db: DatabaseSync;
let instances: Instances;

beforeEach(async () => {
  folder = await createTempDir('instances');
  file = folder.join('holdline.db');
  db = openDatabase({ file });
  instances = new Instances(db, file);
});
afterEach(async () => {
  db.close();
  await folder.remove();
});

const lockFiles = () => readdirSync(folder.path).filter((name) => name.includes('-live-'));

test('an instance lives until it releases its lock', () => {
  const lock = instances.lock();
  expect(instances.isAlive(lock.token)).toBe(true);
  lock.release();
  expect(instances.isAlive(lock.token)).toBe(false);
  expect(lockFiles()).toEqual([]);
});

test('looking at a lock does not release it', () => {
  const lock = instances.lock();
  const other = new Instances(db, file);
  for (let i = 0; i < 3; i++) expect(other.isAlive(lock.token)).toBe(true);
  lock.release();
});

test('a process that is killed does not live any more, one that is suspended does', async () => {
  await using child = await ManagedProcess.start({
    label: 'instance',
    command: process.execPath,
    args: [
      '--input-type=module',
      '--eval',
      `import { LifeLock } from ${JSON.stringify(module)};
       const lock = new LifeLock(${JSON.stringify(file)});
       console.log(lock.token);
       setInterval(() => {}, 1000);`,
    ],
  });
  const token = await eventually(
    () => {
      expect(child.stdout).toContain('\n');
      return child.stdout.trim();
    },
    { what: 'the token', pointless: () => child.obituary },
  );
  expect(instances.isAlive(token)).toBe(true);
  await child.suspend();
  expect(instances.isAlive(token)).toBe(true);
  await child.kill9();
  expect(instances.isAlive(token)).toBe(false);
  expect(lockFiles()).toHaveLength(1);
  instances.bury(token);
  expect(lockFiles()).toEqual([]);
});

test('files that belong to nobody are swept when they are old, others never', () => {
  const registered = instances.lock();
  instances.register(registered, 'payments', 'one');
  const fresh = instances.lock();
  const stray = `${file}-live-stray`;
  writeFileSync(stray, '');
  const later = Date.now() + 3_600_000;
  instances.sweepStrays(Date.now());
  expect(lockFiles()).toHaveLength(3);
  utimesSync(stray, 0, 0);
  instances.sweepStrays(later);
  expect(lockFiles().toSorted()).toEqual(
    [registered, fresh].map((lock) => `holdline.db-live-${lock.token}`).toSorted(),
  );
  registered.release();
  fresh.release();
});

test('who registers is seen by the others, and counts signs of life until it is removed', () => {
  const lock = instances.lock();
  const owner = instances.register(lock, 'payments', 'one');
  expect(instances.others(undefined)).toEqual([
    { row: expect.objectContaining({ owner, token: lock.token, beat: 0 }), holding: false },
  ]);
  expect(instances.others(owner)).toEqual([]);
  expect(instances.beat(owner)).toBe(true);
  expect(instances.others(undefined)[0]?.row.beat).toBe(1);
  expect(instances.remove(owner)).toBe(true);
  expect(instances.remove(owner)).toBe(false);
  expect(instances.beat(owner)).toBe(false);
  // A number is never given twice, or an old lease would pass for a new one.
  expect(instances.register(lock, 'payments', 'again')).toBeGreaterThan(owner);
  lock.release();
});
