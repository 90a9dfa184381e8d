import { expect, test } from 'vitest';
import { paced } from '../../../sidecar/cli/paced.ts';
import { CommandFailed } from '../../../sidecar/cli/failure.ts';

test('acts on one id after another, in order, and tells which there were', async () => {
  const log: string[] = [];
  const result = await paced(['a', 'b', 'c'], undefined, async (id) => {
    log.push(`begin ${id}`);
    await Promise.resolve();
    log.push(`end ${id}`);
    return id !== 'b';
  });
  expect(result).toEqual({ done: ['a', 'c'], unknown: ['b'] });
  expect(log).toEqual(['begin a', 'end a', 'begin b', 'end b', 'begin c', 'end c']);
});

test('starts no more per time than the rate allows', async () => {
  const starts: number[] = [];
  await paced(['a', 'b', 'c'], { count: 20, perMs: 1000 }, async () => {
    starts.push(performance.now());
    return true;
  });
  // Only a lower bound, with a millisecond for the timer's own rounding: a slow machine may take as long as it likes.
  expect(starts[2]! - starts[0]!).toBeGreaterThan(2 * 50 - 2);
});

test('ends at the first failure and says how far it came', async () => {
  const acted: string[] = [];
  const work = paced(['a', 'b', 'c'], undefined, async (id) => {
    acted.push(id);
    if (id === 'b') throw new Error('broker away');
    return true;
  });
  await expect(work).rejects.toThrow(new CommandFailed('broker away; ended at b, after 1 of 3'));
  expect(acted).toEqual(['a', 'b']);
});
