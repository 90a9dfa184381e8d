import { afterEach, expect, test, vi } from 'vitest';
import { Turnstile } from '../../../sidecar/inbound/turnstile.ts';

afterEach(() => {
  vi.useRealTimers();
});

function turnstile(rate: { count: number; perMs: number } | undefined) {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
  const passed: number[] = [];
  return { passed, gate: new Turnstile<number>(rate, (item) => void passed.push(item)) };
}

test('turnstile - without a rate everyone passes at once', () => {
  const { passed, gate } = turnstile(undefined);
  for (const item of [1, 2, 3]) gate.enter(item);
  expect(passed).toEqual([1, 2, 3]);
  expect(gate.room).toBe(Number.POSITIVE_INFINITY);
});

test('turnstile - with one, in order, one timer at a time', () => {
  const { passed, gate } = turnstile({ count: 10, perMs: 1_000 });
  for (const item of [1, 2, 3, 4]) gate.enter(item);
  expect(passed).toEqual([1]);
  expect(gate.waiting).toBe(3);
  expect(gate.room).toBe(1);
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(100);
  expect(passed).toEqual([1, 2]);
  vi.advanceTimersByTime(200);
  expect(passed).toEqual([1, 2, 3, 4]);
  expect(vi.getTimerCount()).toBe(0);
});

test('turnstile - a new rate holds for those that wait, none lets them all through', () => {
  const { passed, gate } = turnstile({ count: 1, perMs: 60_000 });
  for (const item of [1, 2, 3, 4]) gate.enter(item);
  gate.setRate({ count: 10, perMs: 1_000 });
  expect(passed).toEqual([1, 2]);
  gate.setRate(undefined);
  expect(passed).toEqual([1, 2, 3, 4]);
  expect(vi.getTimerCount()).toBe(0);
});

test('turnstile - who is taken out of the queue does not pass later', () => {
  const { passed, gate } = turnstile({ count: 1, perMs: 1_000 });
  for (const item of [1, 2, 3]) gate.enter(item);
  expect(gate.empty()).toEqual([2, 3]);
  expect(vi.getTimerCount()).toBe(0);
  vi.advanceTimersByTime(5_000);
  expect(passed).toEqual([1]);
});
