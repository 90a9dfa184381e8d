import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  breakerRoom,
  breakerStep,
  closedBreaker,
  type BreakerEvent,
  type BreakerState,
} from '../../../sidecar/policy/breaker.ts';

const now = 1_000;

function after(events: readonly BreakerEvent[], from: BreakerState = closedBreaker, at = now): BreakerState {
  return events.reduce((state, event) => breakerStep(state, event, at), from);
}

const failed = (times: number) => Array.from({ length: times }, () => 'failed' as const);
const opened = after(failed(5));

describe('the breaker', () => {
  test('opens at the fifth failure in a row, and at no other', () => {
    expect(after(failed(4))).toEqual({ kind: 'closed', failures: 4 });
    expect(opened).toEqual({ kind: 'open', trips: 1, until: now + 10_000 });
    expect(after([...failed(4), 'succeeded', ...failed(4)])).toEqual({ kind: 'closed', failures: 4 });
  });

  test('is not moved by failures that were under way, nor by an alarm before its time', () => {
    expect(after(failed(9))).toEqual(opened);
    expect(after(['pause-over'], opened, now + 9_999)).toEqual(opened);
    expect(after(['pause-over'])).toBe(closedBreaker);
  });

  test('tries when the pause is over, and a failure then makes the next one twice as long, up to ten minutes', () => {
    const pauses: number[] = [];
    let state = opened;
    let at = now;
    for (let trip = 0; trip < 9 && state.kind === 'open'; trip++) {
      pauses.push(state.until - at);
      at = state.until;
      state = after(['pause-over'], state, at);
      expect(breakerRoom(state)).toBe(1);
      state = after(['failed'], state, at);
    }
    expect(pauses).toEqual([10_000, 20_000, 40_000, 80_000, 160_000, 320_000, 600_000, 600_000, 600_000]);
  });

  test('lets nobody through while open, one while trying, everybody else', () => {
    expect(breakerRoom(opened)).toBe(0);
    expect(breakerRoom(after(['pause-over'], opened, now + 10_000))).toBe(1);
    expect(breakerRoom(after(failed(4)))).toBe(Number.POSITIVE_INFINITY);
  });

  test('is closed by any success, whatever came before', () => {
    const event = fc.constantFrom<BreakerEvent>('succeeded', 'failed', 'pause-over');
    const steps = fc.array(fc.tuple(event, fc.nat({ max: 1_000_000 })), { maxLength: 40 });
    fc.assert(
      fc.property(steps, fc.nat(), (many, last) => {
        let at = 0;
        let state: BreakerState = closedBreaker;
        for (const [kind, pause] of many) state = breakerStep(state, kind, (at += pause));
        expect(breakerStep(state, 'succeeded', at + last)).toBe(closedBreaker);
        const { kind } = state;
        expect(kind === 'open' ? state.until - at : 0).toBeLessThanOrEqual(600_000);
      }),
    );
  });
});
