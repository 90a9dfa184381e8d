import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const room = join(import.meta.dirname, '../../../sidecar/collections/linked-hash-map.ts');

/** Lets entries come and go, thirty-two at a time, and prints what of them has got into the old generation, in MB. */
const script = `
  import { getHeapSpaceStatistics } from 'node:v8';
  const { LinkedHashMap } = await import(process.argv[1]);
  const map = process.argv[2] === 'Map' ? new Map() : new LinkedHashMap();
  const old = () => getHeapSpaceStatistics().find((space) => space.space_name === 'old_space').space_used_size / 2 ** 20;
  let next = 0;
  const churn = (times) => {
    for (let n = 0; n < times; n++) {
      next++;
      map.set('call ' + next, Array.from({ length: 50 }, (_, at) => ({ at, next })));
      map.delete('call ' + (next - 32));
    }
  };
  // What is there at a full collection is old afterwards, and dies so.
  churn(1000);
  gc();
  const before = old();
  churn(10_000);
  process.stdout.write(String(old() - before));
`;

async function grownBy(kind: 'Map' | 'LinkedHashMap'): Promise<number> {
  const flags = ['--expose-gc', '--max-semi-space-size=1', '--initial-old-space-size=512', '--input-type=module'];
  const { stdout } = await run(process.execPath, [...flags, '-e', script, '--', room, kind]);
  return Number(stdout);
}

test('what has come and gone does not get into the old generation', async () => {
  expect(await grownBy('LinkedHashMap')).toBeLessThan(2);
}, 60_000);

test('with a Map all of it does: once it does not, this room is no longer needed (ADR 0022)', async () => {
  expect(await grownBy('Map')).toBeGreaterThan(8);
}, 60_000);
