import { expect, test } from 'vitest';
import { becomesResponse, mayWithdraw, settlesRound } from '../../../../sidecar/broker/sqlite/verdict.ts';
import type { Outcome } from '../../../../sidecar/model/call.ts';

type Claim = readonly [round: number, outcome: Outcome];

const claim = ([round, outcome]: Claim) => ({ round, outcome });

test.for<[incoming: Claim, stored: Claim | undefined, openRound: number | undefined, becomes: boolean]>([
  // The first one wins.
  [[1, 'answered'], undefined, 1, true],
  [[1, 'exhausted'], undefined, 1, true],
  [[1, 'cancelled'], undefined, 1, true],
  [[1, 'answered'], [1, 'answered'], undefined, false],
  [[1, 'exhausted'], [1, 'answered'], undefined, false],
  [[1, 'exhausted'], [1, 'outcome-unknown'], undefined, false],
  [[1, 'answered'], [1, 'cancelled'], undefined, false],
  [[2, 'answered'], [1, 'answered'], 2, false],
  [[2, 'answered'], [1, 'cancelled'], 2, false],
  // Holdline's own outcome gives way to a real answer of the same round …
  [[1, 'answered'], [1, 'outcome-unknown'], undefined, true],
  [[1, 'answered'], [1, 'exhausted'], undefined, true],
  [[1, 'cancelled'], [1, 'exhausted'], undefined, false],
  // … and to whatever the next round comes to, but not to what an earlier one brings late.
  [[2, 'answered'], [1, 'exhausted'], 2, true],
  [[2, 'exhausted'], [1, 'exhausted'], 2, true],
  [[1, 'answered'], [2, 'exhausted'], undefined, false],
  [[1, 'exhausted'], [2, 'answered'], undefined, false],
  // While the next round is open, only a real answer of the earlier one still counts.
  [[1, 'answered'], undefined, 2, true],
  [[1, 'outcome-unknown'], undefined, 2, false],
  [[2, 'answered'], undefined, 1, false],
  // What was discarded, or has been forgotten, does not come back.
  [[1, 'answered'], undefined, undefined, false],
  [[1, 'outcome-unknown'], undefined, undefined, false],
])('%j over %j while round %j is open: %j', ([incoming, stored, openRound, becomes]) => {
  const known = stored === undefined ? undefined : claim(stored);
  expect(becomesResponse(claim(incoming), known, openRound)).toBe(becomes);
});

test.for<[stored: Claim, round: number, settles: boolean]>([
  [[1, 'answered'], 1, true],
  [[1, 'exhausted'], 1, true],
  [[1, 'answered'], 2, true],
  [[1, 'cancelled'], 2, true],
  [[1, 'exhausted'], 2, false],
  [[1, 'outcome-unknown'], 2, false],
  [[2, 'exhausted'], 1, true],
])('%j settles round %i: %j', ([stored, round, settles]) => {
  expect(settlesRound(claim(stored), round)).toBe(settles);
});

const untouched = { running: false, marked: false, unaccounted: 0, attempts: 0 };

test.for<[what: string, state: Partial<typeof untouched>, cancelled: boolean, deadlineExceeded: boolean]>([
  ['nothing was sent', {}, true, true],
  ['an attempt is under way', { running: true }, false, false],
  ['a start is on record and its end is not', { marked: true }, false, false],
  ['an attempt died with its sidecar', { unaccounted: 1 }, false, true],
  ['it was tried before', { attempts: 1 }, false, true],
])('%s', ([, state, cancelled, deadlineExceeded]) => {
  expect(mayWithdraw({ ...untouched, ...state }, 'cancelled')).toBe(cancelled);
  expect(mayWithdraw({ ...untouched, ...state }, 'deadline-exceeded')).toBe(deadlineExceeded);
});
