import { rmSync, statSync } from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { Bell } from '../../../../sidecar/broker/sqlite/bell.ts';
import { eventually } from '../../../support/eventually.ts';
import { createLatch } from '../../../support/latch.ts';
import { ManagedProcess } from '../../../support/managed-process.ts';
import { createTempDir, type TempDir } from '../../../support/temp-dir.ts';

const module = `${import.meta.dirname}/../../../../sidecar/broker/sqlite/bell.ts`;

let folder: TempDir;
let file: string;
const bells: Bell[] = [];
const problems: Error[] = [];

beforeEach(async () => {
  folder = await createTempDir('bell');
  file = folder.join('holdline.db');
});
afterEach(async () => {
  for (const bell of bells.splice(0)) bell.close();
  await folder.remove();
  expect(problems.splice(0)).toEqual([]);
});

function hang(onRing: () => void): Bell {
  const bell = new Bell(file, onRing, (problem) => problems.push(problem));
  bells.push(bell);
  return bell;
}

test('a ring is heard in another process', async () => {
  const heard = createLatch();
  hang(() => heard.open());
  await using ringer = await ManagedProcess.start({
    label: 'ringer',
    command: process.execPath,
    args: [
      '--input-type=module',
      '--eval',
      `import { Bell } from ${JSON.stringify(module)};
       const bell = new Bell(${JSON.stringify(file)}, () => {}, (problem) => { throw problem; });
       bell.ring();
       bell.close();`,
    ],
  });
  await heard.wait('the ring');
  expect(await ringer.exited).toMatchObject({ code: 0 });
});

test('however often it is rung, the file does not grow', () => {
  const bell = hang(() => {});
  for (let i = 0; i < 100; i++) bell.ring();
  expect(statSync(`${file}-bell`).size).toBe(1);
});

test('when the file is deleted, everyone meets at a new one', async () => {
  const one = hang(() => {});
  const heard = createLatch();
  let moved = false;
  const two = hang(() => {
    if (moved) heard.open();
  });
  rmSync(`${file}-bell`);
  one.check();
  two.check();
  moved = true;
  await eventually(
    () => {
      one.ring();
      expect(heard.isOpen).toBe(true);
    },
    { what: 'the ring of the one at the other' },
  );
  expect(statSync(`${file}-bell`).size).toBe(1);
});

test('where nothing can be watched it says so once, and rings into the void', async () => {
  const missing: Error[] = [];
  const bell = new Bell(
    folder.join('no', 'such', 'folder', 'db'),
    () => {},
    (problem) => missing.push(problem),
  );
  bell.ring();
  bell.close();
  expect(bell.works).toBe(false);
  expect(missing).toHaveLength(1);
});
