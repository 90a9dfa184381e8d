import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { topicTest } from '../../../sidecar/policy/topic.ts';

test.for([
  ['order.paid', 'order.paid', true],
  ['order.paid', 'order.paid.late', false],
  ['order.paid', 'order', false],
  ['**', '$call.payments', false],
  ['*.payments', '$call.payments', false],
  ['**.payments', '$call.payments', false],
  ['$call.payments', '$call.payments', true],
  ['$call.*', '$call.payments', true],
  ['$call.*', 'x.payments', false],
  ['order.*', 'order.paid', true],
  ['order.*', 'order', false],
  ['order.*', 'order.paid.late', false],
  ['*', 'order', true],
  ['*.*', 'order', false],
  ['order.**', 'order', true],
  ['order.**', 'order.paid.late', true],
  ['order.**', 'orders.paid', false],
  ['**', 'order', true],
  ['**.late', 'late', true],
  ['**.late', 'order.paid.late', true],
  ['**.late', 'order.late.paid', false],
  ['order.**.late', 'order.late', true],
  ['order.**.late', 'order.a.b.late', true],
  ['order.**.*', 'order', false],
  ['order.**.*', 'order.x', true],
  ['**.a.**.b', 'x.a.b.a.y.b', true],
  ['**.a.**.b', 'x.b.a', false],
] as const)('%s against %s: %s', ([pattern, topic, expected]) => {
  expect(topicTest(pattern)(topic)).toBe(expected);
});

const word = fc.constantFrom('a', 'b', 'c');

test('it says what a regular expression says', () => {
  const patterns = fc.array(fc.oneof(word, fc.constantFrom('*', '**')), { minLength: 1, maxLength: 5 });
  const topics = fc.array(word, { minLength: 1, maxLength: 6 });
  fc.assert(
    fc.property(patterns, topics, (pattern, topic) => {
      // Each word with its dot, so that "any number" needs no special case.
      const source = pattern.map((part) =>
        part === '**' ? String.raw`(\w+\.)*` : part === '*' ? String.raw`\w+\.` : String.raw`${part}\.`,
      );
      const expected = new RegExp(`^${source.join('')}$`).test(topic.map((part) => `${part}.`).join(''));
      expect(topicTest(pattern.join('.'))(topic.join('.'))).toBe(expected);
    }),
  );
});
