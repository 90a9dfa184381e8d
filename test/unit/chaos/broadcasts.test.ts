import { describe, expect, test } from 'vitest';
import type { broadcastRules } from '../../chaos/broadcast-rules.ts';
import { check } from '../../chaos/checker.ts';
import type { HistoryEvent } from '../../chaos/history.ts';
import { delivered, everywhere, publish, published, redelivered, subscribed, undelivered } from './broadcast-events.ts';
import { jumped, killed, refused, unknown } from './events.ts';

type Rules = keyof typeof broadcastRules;

const keyed = { key: 'k1' };
/** Published, and given up by `archive` between 2 and 9000. */
const givenUp = (...more: HistoryEvent[]) => [
  publish(1),
  published(2),
  delivered(3, 'shared'),
  ...more,
  delivered(4, 'archive', { taken: false }),
  undelivered(9_000, 'audit/archive'),
];

describe('a good history of broadcasts is accepted', () => {
  test.for<[string, readonly HistoryEvent[]]>([
    ['published and delivered to all who want it', [publish(1), published(2), ...everywhere(3)]],
    [
      'another topic, which is wanted by others',
      [
        publish(1, { topic: 'order.paid.late' }),
        published(2, { topic: 'order.paid.late' }),
        delivered(3, 'shared', { topic: 'order.paid.late' }),
      ],
    ],
    ['refused, and nobody has it', [publish(1), refused(2)]],
    ['a cut connection, and nobody has it', [publish(1), unknown(2)]],
    ['a cut connection, and all have it', [publish(1), unknown(2), ...everywhere(3)]],
    [
      'a key that was refused, sent again and acknowledged twice',
      [
        publish(1, keyed),
        refused(2),
        publish(3, keyed),
        unknown(4),
        publish(5, keyed),
        published(6),
        publish(7, keyed),
        published(8),
        ...everywhere(9),
      ],
    ],
    [
      'declined and then taken',
      [
        publish(1),
        published(2),
        delivered(3, 'shared', { taken: false }),
        delivered(4, 'shared', { attempt: 2 }),
        delivered(5, 'archive'),
      ],
    ],
    [
      'a dead letter that was replayed and taken',
      [
        ...givenUp(...killed('archive', 3, 5)),
        redelivered(9_001, 'b1-archive'),
        delivered(9_002, 'archive', { attempt: 7 }),
      ],
    ],
    [
      'a dead letter of the one that declines',
      [
        publish(1, { topic: 'order.paid' }),
        published(2, { topic: 'order.paid' }),
        ...everywhere(3, { topic: 'order.paid' }),
        delivered(4, 'fussy', { topic: 'order.paid', taken: false }),
        undelivered(9, 'payments/fussy'),
        redelivered(10, 'b1-fussy'),
        delivered(11, 'fussy', { topic: 'order.paid', attempt: 7 }),
      ],
    ],
    [
      'taken, and again after a broker was killed',
      [publish(1), published(2), ...everywhere(3), ...killed('nats-server', 900, 1_000), delivered(5_900, 'shared')],
    ],
    [
      'taken, but too late for its answer to count, and again',
      [
        publish(1),
        published(2),
        ...everywhere(3, { behaviour: 'hang' }),
        delivered(9_000, 'shared', { attempt: 2 }),
        delivered(9_000, 'archive', { attempt: 2 }),
      ],
    ],
    [
      'a time by a clock that had jumped',
      [
        ...jumped(4_000, 9_000, -20_000),
        publish(5_000),
        published(5_001),
        ...everywhere(5_002, { time: '1969-12-31T23:59:45.000Z' }),
      ],
    ],
    [
      'a time by a clock that jumped between a first request, which was refused, and the one that was stored',
      [
        publish(5_000, keyed),
        refused(5_010),
        ...jumped(5_100, 9_000, -6_000),
        publish(6_000, keyed),
        published(6_001),
        ...everywhere(6_002, { time: '1970-01-01T00:00:00.500Z' }),
      ],
    ],
  ])('%s', ([, history]) => {
    expect(check([...history, ...subscribed()]).violations).toEqual([]);
  });
});

const bad: Record<Rules, readonly (readonly [string, readonly HistoryEvent[]])[]> = {
  withheld: [
    ['acknowledged, and delivered to nobody', [publish(1), published(2)]],
    ['delivered to one of two', [publish(1), unknown(2), delivered(3, 'shared')]],
    [
      'delivered to one of two, and declined by the other',
      [publish(1), published(2), delivered(3, 'shared'), delivered(4, 'archive', { taken: false })],
    ],
    [
      'a dead letter that was replayed and did not arrive',
      [...givenUp(...killed('archive', 3, 5)), redelivered(9_001, 'b1-archive')],
    ],
  ],
  foisted: [['a topic that it does not want', [publish(1), published(2), ...everywhere(3), delivered(4, 'fussy')]]],
  imagined: [['what nobody has published', [delivered(3, 'shared')]]],
  retracted: [['refused and delivered', [publish(1), refused(2), ...everywhere(3)]]],
  multiplied: [
    [
      'one key, two events',
      [
        publish(1, keyed),
        published(2),
        publish(3, keyed),
        published(4, { event: 'b2' }),
        ...everywhere(5),
        ...everywhere(6, { event: 'b2', delivery: 'x' }),
      ],
    ],
    [
      'one request, two events',
      [publish(1), unknown(2), ...everywhere(3), delivered(4, 'shared', { event: 'b2', delivery: 'b2-shared' })],
    ],
  ],
  unconfirmed: [['a key that gets no answer', [publish(1, keyed), refused(2), publish(3, keyed), unknown(4)]]],
  garbled: [
    ['another body', [publish(1), published(2), ...everywhere(3, { digest: 'd2' })]],
    ['another topic', [publish(1), published(2), ...everywhere(3, { topic: 'order.paid' })]],
    ['another topic at once', [publish(1), published(2, { topic: 'order.paid' }), ...everywhere(3)]],
    ['another source', [publish(1), published(2), ...everywhere(3, { source: '/services/audit' })]],
    ['no time', [publish(1), published(2), ...everywhere(3, { time: '' })]],
    ['a time long before it was sent', [publish(90_000), published(90_001), ...everywhere(90_002)]],
    [
      'two times',
      [publish(1), published(2), ...everywhere(3), delivered(4, 'shared', { time: '1970-01-01T00:00:00.009Z' })],
    ],
  ],
  confused: [
    ['one delivery id for two subscriptions', [publish(1), published(2), ...everywhere(3, { delivery: 'x' })]],
    [
      'two delivery ids for one subscription',
      [
        publish(1),
        published(2),
        delivered(3, 'shared', { taken: false, delivery: 'x' }),
        ...everywhere(4, { attempt: 2 }),
      ],
    ],
  ],
  insistent: [
    ['again, and nothing had failed', [publish(1), published(2), ...everywhere(3), delivered(9, 'shared')]],
    [
      'again, long after the broker was killed',
      [
        publish(1),
        published(2),
        ...everywhere(3),
        ...killed('nats-server', 4, 9),
        delivered(9_000, 'shared'),
        delivered(9_001, 'shared'),
      ],
    ],
    [
      'again and again while things fail',
      [
        publish(1),
        published(2),
        ...killed('nats-server', 2, 9_000),
        ...everywhere(3),
        ...Array.from({ length: 21 }, (_, n) => delivered(n + 10, 'shared')),
      ],
    ],
  ],
  stalled: [
    [
      'events that still wait',
      [publish(1), published(2), ...everywhere(3), ...subscribed({ 'audit/archive': { waiting: 1 } })],
    ],
    [
      'one that has ended',
      [publish(1), published(2), ...everywhere(3), ...subscribed({ 'audit/archive': { state: 'ended' } })],
    ],
    [
      'one that is gone',
      [
        publish(1),
        published(2),
        ...everywhere(3),
        ...subscribed().filter(({ subscription }) => subscription !== 'audit/calls'),
      ],
    ],
  ],
  stranded: [
    ['a dead letter that nobody replayed', givenUp(...killed('archive', 3, 5))],
    [
      'a dead letter that was replayed and is one again',
      [...givenUp(...killed('archive', 3, 5)), redelivered(9_001, 'b1-archive'), undelivered(9_900, 'audit/archive')],
    ],
    ['a callback that is a dead letter', [undelivered(9, 'callback', { delivery: 'k1' })]],
  ],
  abandoned: [
    ['given up without a fault', [...givenUp(), redelivered(9_001, 'b1-archive'), delivered(9_002, 'archive')]],
    ['given up though others had failed', givenUp(...killed('service-1', 3, 5), ...killed('nats-server', 3, 5))],
    [
      'given up long after the fault',
      [...killed('archive', 1, 2), publish(8_000), published(8_001), undelivered(9_000, 'audit/archive')],
    ],
  ],
};

describe('a bad history of broadcasts is refused', () => {
  const cases = Object.entries(bad).flatMap(([rule, histories]) =>
    histories.map(([name, history]) => [rule, name, history] as const),
  );
  test.for(cases)('%s: %s', ([rule, , history]) => {
    const complete = history.some(({ type }) => type === 'subscribed') ? history : [...history, ...subscribed()];
    expect(check(complete).violations.map((violation) => violation.rule)).toContain(rule);
  });
});

test('a violation names the intent and the event', () => {
  expect(check([publish(1), published(2), delivered(3, 'shared'), ...subscribed()]).violations).toEqual([
    {
      rule: 'withheld',
      token: 't1',
      event: 'b1',
      what: expect.stringContaining('archive has never taken it') as string,
    },
  ]);
});

test('a refusal is told from one that a healthy system does not give', () => {
  const [violation] = check([publish(1), refused(2, 'not-routed'), ...subscribed()]).violations;
  expect(violation).toMatchObject({ rule: 'misjudged', token: 't1' });
});

test('the counts', () => {
  const { counts } = check([
    publish(1),
    published(2),
    ...everywhere(3),
    ...killed('nats-server', 4, 9),
    delivered(5, 'shared'),
    delivered(6, 'shared'),
    publish(7, { token: 't2' }),
    published(8, { token: 't2', event: 'b2' }),
    publish(9, { token: 't3' }),
    { ...refused(10), token: 't3' } as HistoryEvent,
    ...subscribed(),
  ]);
  expect(counts).toMatchObject({ intents: 0, published: 2, delivered: 2, redelivered: 1, withheld: 2 });
});
