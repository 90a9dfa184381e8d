import fc from 'fast-check';
import { expect, test } from 'vitest';
import { closedAtStart, pause, step, type GateEvent, type GateState } from '../../../sidecar/policy/gate.ts';

function play(state: GateState, events: readonly GateEvent[], interval?: number): GateState {
  return events.reduce((current, event) => step(current, event, interval).state, state);
}

const up: GateEvent = { kind: 'probe-succeeded' };
const red: GateEvent = { kind: 'probe-failed', why: 'refused' };
const reached: GateEvent = { kind: 'reached' };
const notSent = (opening: number): GateEvent => ({ kind: 'not-sent', opening, why: 'refused' });

test('gate - is closed until the first probe succeeds', () => {
  expect(closedAtStart.open).toBe(false);
  expect(play(closedAtStart, [reached, notSent(0), red]).open).toBe(false);
  expect(play(closedAtStart, [red, up])).toMatchObject({ open: true, opening: 1 });
});

test('gate - pauses between probes double from 100 ms to 2 s', () => {
  expect([1, 2, 3, 4, 5, 6, 60].map(pause)).toEqual([100, 200, 400, 800, 1_600, 2_000, 2_000]);
});

test('gate - an attempt that could not be sent closes it, and says why', () => {
  const { state, probeIn } = step(play(closedAtStart, [up]), notSent(1), undefined);
  expect(state).toMatchObject({ open: false, why: 'refused' });
  expect(probeIn).toBe(100);
});

test('gate - an attempt of an earlier opening changes nothing', () => {
  const open = play(closedAtStart, [up, notSent(1), up]);
  expect(step(open, notSent(1), undefined)).toEqual({ state: open });
});

test('gate - openings that no attempt confirms make the pauses grow', () => {
  let state = closedAtStart;
  const pauses: (number | undefined)[] = [];
  for (let round = 0; round < 6; round++) {
    state = play(state, [up]);
    const next = step(state, notSent(state.opening), undefined);
    pauses.push(next.probeIn);
    state = next.state;
  }
  expect(pauses).toEqual([100, 200, 400, 800, 1_600, 2_000]);
  const confirmed = play(state, [up, reached]);
  expect(step(confirmed, notSent(confirmed.opening), undefined).probeIn).toBe(100);
});

test('gate - only a health check is repeated while it is open', () => {
  expect(step(closedAtStart, up, undefined).probeIn).toBeUndefined();
  expect(step(closedAtStart, up, 5_000).probeIn).toBe(5_000);
  expect(step(play(closedAtStart, [up]), red, 5_000)).toMatchObject({ state: { open: false }, probeIn: 100 });
});

test('gate - whatever happens, a closed gate always has a next probe and says why', () => {
  const events = fc.oneof(
    fc.constant(up),
    fc.constant(red),
    fc.constant(reached),
    fc.integer({ min: 0, max: 4 }).map(notSent),
  );
  fc.assert(
    fc.property(fc.array(events), fc.option(fc.constant(2_000), { nil: undefined }), (history, interval) => {
      let state = closedAtStart;
      for (const event of history) {
        const next = step(state, event, interval);
        const needsProbe = event.kind === 'probe-failed' || (state.open && !next.state.open);
        expect(needsProbe && next.probeIn === undefined).toBe(false);
        expect(next.probeIn).not.toBe(0);
        expect(next.state.why).not.toBe('');
        expect(next.state.opening).toBe(state.opening + (next.state.open && !state.open ? 1 : 0));
        state = next.state;
      }
    }),
  );
});
