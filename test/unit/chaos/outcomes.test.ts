import { describe, expect, test } from 'vitest';
import { check } from '../../chaos/checker.ts';
import type { HistoryEvent } from '../../chaos/history.ts';
import type { outcomeRules } from '../../chaos/outcome-rules.ts';
import { reported, subscribed, told, undelivered } from './broadcast-events.ts';
import { accepted, answered, attempted, givenUp, invoke, killed, letter, replayed } from './events.ts';

type Rules = keyof typeof outcomeRules;

const wanted = (at: number) => invoke(at, { callback: true });
const done = [wanted(1), accepted(2), attempted(3), answered(9)];
/** Given up, and answered when it was replayed. */
const resumed = [
  ...killed('payments-1', 2, 4),
  wanted(1),
  accepted(2),
  attempted(3, { nonce: 'n0' }),
  givenUp(50, 'outcome-unknown'),
  letter(51, 'outcome-unknown'),
  replayed(60),
  attempted(61),
  answered(70),
];
const letterTold = told(52, { delivery: 'k0', status: 502, nonce: undefined, error: 'outcome-unknown' } as object);
const letterReported = reported(52, {
  event: 'f0',
  status: 502,
  nonce: undefined,
  outcome: 'outcome-unknown',
} as object);

describe('a good history of finished calls is accepted', () => {
  test.for<[string, readonly HistoryEvent[]]>([
    ['told and reported', [...done, told(5), reported(6)]],
    [
      'told after it was declined, and twice',
      [...done, told(5, { taken: false }), told(6), told(7), reported(8), reported(9)],
    ],
    [
      'given up, replayed, answered, and told of both',
      [...resumed, letterTold, letterReported, told(63), reported(64)],
    ],
    ['no callback was asked for, and none came', [invoke(1), accepted(2), attempted(3), answered(9), reported(6)]],
    [
      'a deadline that had passed before anybody knew of the attempt',
      [
        invoke(1, { deadline: 3_000 }),
        accepted(2),
        attempted(3, { executed: false }),
        givenUp(9_000, 'deadline-exceeded'),
        letter(9_000, 'deadline-exceeded'),
      ],
    ],
    [
      'told of a last answer that nobody asked for before it was answered after all',
      [
        ...done,
        attempted(2, { nonce: 'n0', executed: false }),
        told(3, { delivery: 'k0', status: 503, nonce: 'n0' }),
        told(5),
        reported(6),
      ],
    ],
  ])('%s', ([, history]) => {
    expect(rulesBroken(history)).toEqual([]);
  });
});

const bad: Record<Rules, readonly (readonly [string, readonly HistoryEvent[]])[]> = {
  untold: [
    ['no callback at all', [...done, reported(5)]],
    [
      'a callback that was never taken',
      [...done, told(5, { taken: false }), undelivered(9, 'callback', { delivery: 'k1' })],
    ],
    ['told of the dead letter only', [...resumed, letterTold, letterReported, reported(64)]],
    ['told of the answer only', [...resumed, letterReported, told(63), reported(64)]],
  ],
  mistold: [
    ['another answer', [...done, told(5), told(6, { nonce: 'n9' }), reported(7)]],
    ['another status', [...done, told(5), told(6, { status: 201 }), reported(7)]],
    ['given up, which it was not', [...done, told(5), told(6, { status: 502, error: 'exhausted' }), reported(7)]],
    ['a call that is not known', [told(5)]],
    ['a call that did not ask for it', [invoke(1), accepted(2), attempted(3), answered(9), reported(6), told(7)]],
  ],
  unreported: [
    ['answered and not in the feed', [...done, told(5)]],
    ['in the feed and never taken', [...done, told(5), reported(6, { taken: false })]],
    ['a dead letter that is not in the feed', [...resumed, letterTold, told(63), reported(64)]],
  ],
  misreported: [
    ['another answer', [...done, told(5), reported(6), reported(7, { nonce: 'n9' })]],
    ['an unknown call', [reported(6)]],
    ['one answer, two events', [...done, told(5), reported(6), reported(7, { event: 'f2' })]],
  ],
};

describe('a bad history of finished calls is refused', () => {
  const cases = Object.entries(bad).flatMap(([rule, histories]) =>
    histories.map(([name, history]) => [rule, name, history] as const),
  );
  test.for(cases)('%s: %s', ([rule, , history]) => {
    expect(rulesBroken(history)).toContain(rule);
  });
});

function rulesBroken(history: readonly HistoryEvent[]): string[] {
  return check([...history, ...subscribed()]).violations.map(({ rule }) => rule);
}
