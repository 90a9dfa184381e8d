import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Alarms } from '../../../sidecar/outbound/alarms.ts';

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe('alarms', () => {
  test('ring at their time or up to two ticks later, never before', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(5000), { minLength: 1, maxLength: 20 }), (delays) => {
        const alarms = new Alarms();
        const start = performance.now();
        const rung: number[] = [];
        for (const delay of delays) {
          alarms.set(delay, () => rung.push(performance.now() - start - delay));
        }
        vi.advanceTimersByTime(5200);
        expect(rung).toHaveLength(delays.length);
        expect(Math.min(...rung)).toBeGreaterThanOrEqual(0);
        expect(Math.max(...rung)).toBeLessThanOrEqual(100);
        // Nothing left to do, so no timer either.
        expect(vi.getTimerCount()).toBe(0);
      }),
    );
  });

  test('do not ring once cancelled, also by another one of the same moment', () => {
    const alarms = new Alarms();
    let rung = 0;
    const second = () => alarm.cancel();
    alarms.set(100, second);
    const alarm = alarms.set(100, () => rung++);
    alarms.set(200, () => rung++).cancel();
    vi.advanceTimersByTime(1000);
    expect(rung).toBe(0);
  });

  test('set while others ring, ring, too', () => {
    const alarms = new Alarms();
    let rung = 0;
    alarms.set(0, () => alarms.set(0, () => rung++));
    vi.advanceTimersByTime(300);
    expect(rung).toBe(1);
  });

  test('are forgotten on close', () => {
    const alarms = new Alarms();
    alarms.set(10, () => expect.unreachable('it was forgotten'));
    alarms.close();
    vi.advanceTimersByTime(1000);
    expect(vi.getTimerCount()).toBe(0);
  });
});
