import { expect, test } from 'vitest';
import { countdown, createLatch } from '../../support/latch.ts';

test('a latch lets everyone pass with the first value', async () => {
  const latch = createLatch<string>();
  const early = latch.wait();
  expect(latch.isOpen).toBe(false);
  latch.open('first');
  latch.open('second');
  expect([await early, await latch.wait(), latch.isOpen]).toEqual(['first', 'first', true]);
});

test('a latch that stays closed says what was awaited', async () => {
  await expect(createLatch().wait('the answer', 10)).rejects.toThrow(/for the answer/);
});

test('a countdown opens at the last count', async () => {
  const twice = countdown(2);
  twice.count();
  expect(twice.remaining).toBe(1);
  await expect(twice.wait('the second', 10)).rejects.toThrow(/for the second/);
  twice.count();
  await twice.wait('the second');
  twice.count();
  expect(twice.remaining).toBe(0);
});

test('a countdown from nothing is open', async () => {
  await expect(countdown(0).wait('nothing')).resolves.toBeUndefined();
});
