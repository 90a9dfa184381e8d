import { describe, expect, test } from 'vitest';
import { mayOutlive } from '../../../../sidecar/broker/jetstream/old-letters.ts';

const HOUR = 3_600_000;
const now = Date.UTC(2026, 10, 28);

describe('a dead letter can have outlived the answer under its key', () => {
  test.each([
    { what: 'not where there is none', oldest: undefined, kept: 24 * HOUR, expected: false },
    { what: 'not while it is young', oldest: now - HOUR, kept: 24 * HOUR, expected: false },
    { what: 'not by half of the time', oldest: now - 12 * HOUR, kept: 24 * HOUR, expected: false },
    {
      what: 'as soon as clocks that differ could hide it',
      oldest: now - 12 * HOUR - 1,
      kept: 24 * HOUR,
      expected: true,
    },
    { what: 'when it is older', oldest: now - 25 * HOUR, kept: 24 * HOUR, expected: true },
    { what: 'not where a clock is ahead of ours', oldest: now + HOUR, kept: 24 * HOUR, expected: false },
    { what: 'always where answers are kept for moments', oldest: undefined, kept: 2_000, expected: true },
  ])('$what', ({ oldest, kept, expected }) => {
    expect(mayOutlive({ oldest, kept }, now)).toBe(expected);
  });
});
