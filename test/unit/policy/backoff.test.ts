import fc from 'fast-check';
import { expect, test } from 'vitest';
import { backoff, retryAfter } from '../../../sidecar/policy/backoff.ts';

const chance = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const bounds = fc
  .tuple(fc.integer({ min: 0, max: 100_000 }), fc.integer({ min: 0, max: 100_000 }))
  .map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) }));

test('backoff - stays within the bounds of the route', () => {
  fc.assert(
    fc.property(bounds, fc.integer({ min: 1, max: 2_000 }), chance, (limits, made, random) => {
      const pause = backoff(limits, made, () => random);
      expect(pause).toBeGreaterThanOrEqual(limits.min);
      expect(pause).toBeLessThanOrEqual(limits.max);
    }),
  );
});

test('backoff - never shrinks as attempts are made, for the same chance', () => {
  fc.assert(
    fc.property(bounds, fc.integer({ min: 1, max: 100 }), chance, (limits, made, random) => {
      expect(backoff(limits, made + 1, () => random)).toBeGreaterThanOrEqual(backoff(limits, made, () => random));
    }),
  );
});

test.each([
  { made: 1, from: 200, to: 400 },
  { made: 2, from: 400, to: 800 },
  { made: 5, from: 3_200, to: 6_400 },
  { made: 9, from: 30_000, to: 60_000 },
  { made: 500, from: 30_000, to: 60_000 },
])('backoff - after $made attempts between $from and $to ms', ({ made, from, to }) => {
  const limits = { min: 200, max: 60_000 };
  expect(backoff(limits, made, () => 0)).toBe(from);
  expect(backoff(limits, made, () => 0.999999999)).toBe(to);
});

const now = Date.UTC(2026, 0, 1, 12, 0, 0);

test.each([
  { value: '1', after: 1_000 },
  { value: ' 120 ', after: 120_000 },
  { value: 'Thu, 01 Jan 2026 12:00:30 GMT', after: 30_000 },
  { value: 'Thursday, 01-Jan-26 12:00:30 GMT', after: 30_000 },
  { value: 'Thu Jan  1 12:00:30 2026', after: 30_000 },
])('Retry-After - "$value" names a moment', ({ value, after }) => {
  expect(retryAfter(value, now)).toBe(now + after);
});

test.each([
  '',
  '0',
  '-1',
  '1.5',
  '1s',
  'soon',
  '2026-01-01T12:00:30Z',
  'Thu, 01 Jan 2026 11:59:59 GMT',
  '1, 2',
  'Thu, 99 Foo 2026 12:00:30 GMT',
])('Retry-After - "%s" says nothing', (value) => {
  expect(retryAfter(value, now)).toBeUndefined();
});

test('Retry-After - any text is either a moment to come or nothing', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      const moment = retryAfter(text, now);
      expect(moment === undefined || moment > now).toBe(true);
    }),
  );
});
