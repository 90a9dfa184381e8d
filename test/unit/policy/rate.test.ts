import fc from 'fast-check';
import { expect, test } from 'vitest';
import { depth, fullBucket, takeToken, type Rate } from '../../../sidecar/policy/rate.ts';

const rates = fc.record({
  count: fc.integer({ min: 1, max: 5_000 }),
  perMs: fc.constantFrom(1_000, 60_000, 3_600_000),
});

/** When tokens were taken by someone who asks again whenever told. */
function taken(rate: Rate, count: number): number[] {
  const times: number[] = [];
  let bucket = fullBucket(rate, 0);
  for (let now = 0; times.length < count;) {
    const step = takeToken(bucket, rate, now);
    bucket = step.bucket;
    if (step.wait === 0) times.push(now);
    else now += step.wait;
  }
  return times;
}

test('rate - no stretch of time sees more than the rate and the burst', () => {
  fc.assert(
    fc.property(rates, (rate) => {
      const times = taken(rate, 60);
      for (let first = 0; first < times.length; first += 7) {
        for (let last = first; last < times.length; last++) {
          const allowed = depth(rate) + ((times[last]! - times[first]!) * rate.count) / rate.perMs;
          expect(last - first + 1).toBeLessThanOrEqual(allowed + 1e-6);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test('rate - the rate is reached as far as whole milliseconds allow', () => {
  fc.assert(
    fc.property(rates, (rate) => {
      const times = taken(rate, 200);
      const needed = (200 * rate.perMs) / rate.count;
      expect(times.at(-1)!).toBeLessThanOrEqual(needed * 1.1 + 200);
    }),
    { numRuns: 50 },
  );
});

test('rate - waiting as long as told is enough', () => {
  fc.assert(
    fc.property(rates, fc.integer({ min: 0, max: 100 }), (rate, rounds) => {
      let bucket = fullBucket(rate, 0);
      let now = 0;
      for (let round = 0; round <= rounds; round++) {
        const step = takeToken(bucket, rate, now);
        bucket = step.bucket;
        if (step.wait === 0) continue;
        now += step.wait;
        const again = takeToken(bucket, rate, now);
        expect(again.wait).toBe(0);
        bucket = again.bucket;
      }
    }),
  );
});

test('rate - a clock that stands still or goes back gives nothing', () => {
  const rate = { count: 1, perMs: 1_000 };
  const { bucket } = takeToken(fullBucket(rate, 5_000), rate, 5_000);
  expect(takeToken(bucket, rate, 4_000).wait).toBe(1_000);
});
