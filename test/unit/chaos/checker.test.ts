import { describe, expect, test } from 'vitest';
import { broadcastRules } from '../../chaos/broadcast-rules.ts';
import { check } from '../../chaos/checker.ts';
import type { HistoryEvent } from '../../chaos/history.ts';
import { outcomeRules } from '../../chaos/outcome-rules.ts';
import { type RuleName, rules } from '../../chaos/rules.ts';
import {
  invoke,
  accepted,
  bought,
  attempted,
  answered,
  givenUp,
  refused,
  unknown,
  missing,
  letter,
  listed,
  cancelled,
  replayed,
  killed,
  paused,
  jumped,
  outcomeUnknown,
  starved,
  crashed,
  keyed,
  hasty,
  ordered,
  again,
  queue,
} from './events.ts';

describe('a good history is accepted', () => {
  test.for<[string, readonly HistoryEvent[]]>([
    ['nothing happened', []],
    ['a call that was answered', [invoke(1), attempted(2), answered(3), answered(9, { via: 'orders-2' })]],
    ['a call that was accepted and answered later', [invoke(1), accepted(2), attempted(3), answered(4)]],
    [
      'a guarded call that was declined before it was executed',
      [invoke(1), attempted(2, { executed: false, nonce: 'n0' }), attempted(3, { attempt: 2 }), answered(4)],
    ],
    [
      'an idempotent call that was executed twice',
      [invoke(1, { idempotent: true }), attempted(2, { nonce: 'n0' }), attempted(3, { attempt: 2 }), answered(4)],
    ],
    ['a cut connection and no execution', [invoke(1), unknown(2)]],
    ['a cut connection and one execution', [invoke(1), unknown(2), attempted(3), answered(9)]],
    ['a refusal', [invoke(1), refused(2)]],
    [
      'a key that was refused, sent again and answered',
      [
        invoke(1, keyed),
        refused(2),
        invoke(3, keyed),
        unknown(4),
        invoke(5, { ...keyed, via: 'orders-2' }),
        attempted(6),
        answered(7),
      ],
    ],
    [
      'a content whose answer may have been delivered, and which was then bought once more',
      [
        invoke(1, bought),
        attempted(2),
        unknown(3),
        invoke(4, bought),
        attempted(5, { call: 'c2', nonce: 'n2' }),
        answered(6, { call: 'c2', echo: { token: 't1', nonce: 'n2' } }),
        answered(7),
      ],
    ],
    ['a dead letter, the machine had no time', outcomeUnknown(...starved(9_000, 11_000))],
    ['a dead letter', outcomeUnknown(...killed('payments-2', 9_000, 9_500))],
    [
      'a dead letter of a call whose caller was killed before it was told of it',
      [
        invoke(1),
        ...killed('payments-2', 20, 2_000),
        unknown(2_100),
        givenUp(20_000, 'outcome-unknown'),
        letter(20_001, 'outcome-unknown'),
      ],
    ],
    [
      'a dead letter of an attempt that was under way, and brought its answer after all',
      [
        ...killed('payments-2', 0, 2),
        invoke(1),
        attempted(2),
        givenUp(3, 'outcome-unknown'),
        answered(9),
        listed(20, 'answered'),
      ],
    ],
    ['a dead letter that nobody has asked for yet', [invoke(1), accepted(2), letter(9, 'deadline-exceeded')]],
    [
      'a dead letter that was replayed',
      [
        invoke(1),
        attempted(2, { nonce: 'n0' }),
        givenUp(3, 'outcome-unknown'),
        replayed(4),
        attempted(5, { attempt: 2 }),
        answered(6),
      ],
    ],
    [
      'a key that started its dead letter again',
      [
        invoke(1, keyed),
        attempted(2, { nonce: 'n0', executed: false }),
        answered(3, { status: 503, digest: 'd0', outcome: 'exhausted', echo: { token: 't1', nonce: 'n0' } }),
        invoke(4, keyed),
        attempted(5, { attempt: 2 }),
        answered(6),
      ],
    ],
    [
      'an answer that was asked for before the dead letter came back to life',
      [
        invoke(1),
        givenUp(3, 'deadline-exceeded'),
        replayed(4),
        attempted(5),
        answered(7),
        givenUp(8, 'deadline-exceeded', { asked: 6 }),
        answered(9),
      ],
    ],
    ['an attempt shortly before the deadline', [invoke(1, hasty), accepted(2), attempted(2_900), answered(2_950)]],
    [
      'an attempt that a frozen process held up',
      [invoke(1, hasty), accepted(2), ...paused(1_000, 9_000), attempted(10_000), answered(10_001)],
    ],
    [
      'an attempt that was held up for as long as a clock had jumped',
      [invoke(1, hasty), accepted(2), ...jumped(1_000, 2_000, -20_000), attempted(20_000), answered(20_001)],
    ],
    [
      'a deadline that had passed by a clock that had jumped',
      [
        ...jumped(1_000, 9_000, 20_000),
        invoke(2_000, hasty),
        givenUp(2_001, 'deadline-exceeded'),
        letter(9_000, 'deadline-exceeded'),
      ],
    ],
    [
      'a deadline that had passed by a clock that was put back while its process stood still',
      [
        ...jumped(1_000, 3_000, 20_000),
        ...paused(2_000, 9_000),
        invoke(8_500, hasty),
        givenUp(9_001, 'deadline-exceeded'),
        letter(9_000, 'deadline-exceeded'),
      ],
    ],
    ['calls of one order key, in order', queue(30, 40)],
    ['calls of one order key, the first of them twice before the second', [...queue(30, 40), again(35)]],
    ['calls of one order key, the first replayed by an operator', [...queue(30, 40), replayed(50), again(60)]],
    [
      'calls of one order key, the first carried out again by a process that had been frozen',
      [...queue(30, 40), ...paused(20, 9_000), again(9_001)],
    ],
    [
      'calls of one order key, one of them declined, and so not executed',
      [...queue(30, 40), attempted(45, { executed: false, nonce: 'n3' })],
    ],
  ])('%s', ([, history]) => {
    expect(check(history).violations).toEqual([]);
  });
});

/** Those of broadcasts and of outcomes are broken in tests of their own. */
type RuleOfCalls = Exclude<RuleName, keyof typeof broadcastRules | keyof typeof outcomeRules>;

const bad: Record<RuleOfCalls, readonly (readonly [string, readonly HistoryEvent[]])[]> = {
  lost: [
    ['accepted and never heard of again', [invoke(1), accepted(2)]],
    ['executed and never heard of again', [invoke(1), unknown(2), attempted(3)]],
  ],
  vanished: [['accepted, and unknown later', [invoke(1), accepted(2), missing(3), attempted(4), answered(5)]]],
  revived: [['cancelled and sent', [invoke(1), accepted(2), cancelled(3), attempted(4), answered(5)]]],
  forsaken: [
    ['given up without a fault', outcomeUnknown()],
    ['given up long after the fault', outcomeUnknown(...killed('payments-2', 1_000, 2_000))],
    [
      'given up for a deadline that it does not have',
      [invoke(1), accepted(2), givenUp(9, 'deadline-exceeded'), letter(99, 'deadline-exceeded')],
    ],
    [
      'given up before its deadline',
      [invoke(1, hasty), accepted(2), givenUp(1_900, 'deadline-exceeded'), letter(9_999, 'deadline-exceeded')],
    ],
    ['given up because the broker was killed', outcomeUnknown(...killed('nats-server', 9_000, 11_000))],
  ],
  unsettled: [['still waiting', [invoke(1), unknown(2), listed(9, 'waiting')]]],
  doubled: [
    ['executed twice without a key', [invoke(1), attempted(2), attempted(3, { nonce: 'n2', attempt: 2 }), answered(4)]],
    [
      'executed three times with one replay',
      [
        invoke(1),
        attempted(2, { nonce: 'n0' }),
        givenUp(3, 'outcome-unknown'),
        replayed(4),
        attempted(5),
        attempted(6, { nonce: 'n2' }),
        answered(7),
      ],
    ],
  ],
  divided: [
    [
      'one content, two calls, and no answer before',
      [
        invoke(1, bought),
        accepted(2),
        invoke(4, bought),
        attempted(5, { call: 'c2', nonce: 'n2' }),
        answered(6, { call: 'c2', echo: { token: 't1', nonce: 'n2' } }),
        attempted(6),
        answered(7),
      ],
    ],
    [
      'one key, two calls',
      [
        invoke(1, keyed),
        attempted(2),
        unknown(3),
        invoke(4, keyed),
        attempted(5, { call: 'c2', nonce: 'n2' }),
        answered(6, { call: 'c2', echo: { token: 't1', nonce: 'n2' } }),
        answered(7),
      ],
    ],
  ],
  swapped: [
    ['the answer of another call', [invoke(1), attempted(2), answered(3, { echo: { token: 't9', nonce: 'n1' } })]],
    [
      'two intents under one call id',
      [invoke(1), attempted(2), answered(3), invoke(4, { token: 't2' }), answered(5, { token: 't2' })],
    ],
  ],
  invented: [
    ['an answer without an execution', [invoke(1), answered(3)]],
    [
      'an answer that no execution gave',
      [invoke(1), attempted(2), answered(3, { echo: { token: 't1', nonce: 'n9' } })],
    ],
  ],
  contradicted: [
    [
      'an overwritten answer',
      [
        invoke(1, { idempotent: true }),
        attempted(2),
        attempted(3, { nonce: 'n2' }),
        answered(4),
        answered(5, { digest: 'd2', echo: { token: 't1', nonce: 'n2' } }),
      ],
    ],
    ['another status with the same body', [invoke(1), attempted(2), answered(4), answered(5, { status: 201 })]],
    ['given up after it was answered', [invoke(1), attempted(2), answered(4), givenUp(9, 'outcome-unknown')]],
    [
      'answered after it was given up, without a replay',
      [invoke(1), givenUp(3, 'outcome-unknown'), attempted(4), answered(9)],
    ],
    [
      'answered with another attempt than the one that was under way when it was given up',
      [
        invoke(1, { idempotent: true }),
        attempted(2, { nonce: 'n0' }),
        givenUp(3, 'outcome-unknown'),
        attempted(4, { attempt: 2 }),
        answered(9),
      ],
    ],
    [
      'exhausted, and answered after all by an attempt before that',
      [invoke(1), attempted(2), givenUp(3, 'exhausted'), answered(9)],
    ],
    [
      'an unknown outcome that a key started again',
      [invoke(1, { key: 'k1' }), givenUp(3, 'outcome-unknown'), invoke(4, { key: 'k1' }), attempted(5), answered(9)],
    ],
  ],
  betrayed: [['refused and executed', [invoke(1), refused(2), attempted(3), answered(9)]]],
  misjudged: [['refused without need', [invoke(1, keyed), refused(2, 'key-reused')]]],
  unheard: [
    ['a content that gets no answer', [invoke(1, bought), refused(2), invoke(3, bought), unknown(4)]],
    ['a key that gets no answer', [invoke(1, keyed), refused(2), invoke(3, keyed), unknown(4)]],
  ],
  misordered: [
    ['the second before the first', queue(50, 40)],
    ['the first again after the second', [...queue(30, 40), again(50)]],
    ['the first again, long after the process was frozen', [...queue(30, 40), ...paused(20, 30), again(9_001)]],
    [
      'the first after the third, the second in its place',
      [
        ...queue(60, 40),
        invoke(30, ordered(3)),
        accepted(31, 'c3', 't3'),
        attempted(50, { token: 't3', call: 'c3', nonce: 'n4' }),
        answered(102, { token: 't3', call: 'c3', echo: { token: 't3', nonce: 'n4' } }),
      ],
    ],
  ],
  late: [
    ['after its deadline', [invoke(1, hasty), accepted(2), attempted(9_000), answered(9_001)]],
    [
      'after its deadline, frozen only for a part of it',
      [invoke(1, hasty), accepted(2), ...paused(1_000, 2_000), attempted(9_000), answered(9_001)],
    ],
    [
      'after its deadline, later than by any jump of a clock',
      [invoke(1, hasty), accepted(2), ...jumped(1_000, 2_000, 4_000), attempted(9_000), answered(9_001)],
    ],
    [
      'after its deadline, the clock had jumped before it was sent',
      [...jumped(10, 20, 9_000), invoke(5_000, hasty), accepted(5_001), attempted(14_000), answered(14_001)],
    ],
    [
      'after the deadline that the list tells',
      [invoke(1, hasty), unknown(2), attempted(9_000), answered(9_001), listed(9_999, 'answered', 2)],
    ],
  ],
  undead: [
    ['answered and on the list', [invoke(1), attempted(2), answered(3), letter(9, 'outcome-unknown')]],
    ['given up and not on the list', [invoke(1), attempted(2), givenUp(3, 'outcome-unknown')]],
  ],
  crashed: [['a sidecar that ended', [crashed]]],
};

describe('a bad history is refused', () => {
  const cases = Object.entries(bad).flatMap(([rule, histories]) =>
    histories.map(([name, history]) => [rule, name, history] as const),
  );
  test.for(cases)('%s: %s', ([rule, , history]) => {
    expect(check(history).violations.map((violation) => violation.rule)).toContain(rule);
  });

  test('every rule has a history that breaks it', () => {
    const elsewhere = [...Object.keys(broadcastRules), ...Object.keys(outcomeRules)];
    expect([...Object.keys(bad), ...elsewhere].toSorted()).toEqual(Object.keys(rules).toSorted());
  });
});

test('a violation names the call and the intent', () => {
  expect(check([invoke(1), accepted(2)]).violations).toEqual([
    { rule: 'lost', token: 't1', call: 'c1', what: expect.stringContaining('acknowledged') as string },
  ]);
});

test('the order in which the files were read does not matter', () => {
  const history = [invoke(1), attempted(2), answered(3), answered(4, { digest: 'd2' })];
  expect(check(history.toReversed())).toEqual(check(history));
});

test('the counts', () => {
  const { counts } = check([
    invoke(1, { idempotent: true }),
    attempted(2),
    attempted(3),
    answered(40),
    invoke(5, { token: 't2' }),
    accepted(6, 'c2', 't2'),
    { type: 'letter', at: 9, call: 'c2', reason: 'exhausted' },
    invoke(7, { token: 't3' }),
    { ...refused(8), token: 't3' } as HistoryEvent,
    invoke(8, { token: 't4' }),
    accepted(9, 'c4', 't4'),
  ]);
  expect(counts).toEqual({
    intents: 4,
    exchanges: 4,
    acknowledged: 3,
    answered: 1,
    refused: 1,
    unknown: 0,
    executed: 2,
    repeated: 1,
    cancelled: 0,
    doubled: 0,
    lost: 1,
    published: 0,
    delivered: 0,
    redelivered: 0,
    withheld: 0,
    reported: 0,
    told: 0,
    deadLetters: { exhausted: 1 },
    longestWait: 39,
  });
});
