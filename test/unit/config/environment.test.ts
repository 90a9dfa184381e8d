import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { substitute } from '../../../sidecar/config/environment.ts';

const env = { HOST: 'payments', PORT: '4222', EMPTY: '', REFERENCE: '${HOST}', LINES: 'a\nb' };

describe('variables are replaced', () => {
  test.for([
    ['broker: nats://${HOST}:${PORT}', 'broker: nats://payments:4222'],
    ['port: ${PORT}', 'port: 4222'],
    ['a: ${NONE:-x}', 'a: x'],
    ['a: ${NONE:-}', 'a: '],
    ['a: ${NONE:-nats://a:1,b}', 'a: nats://a:1,b'],
    ['a: ${HOST:-x}', 'a: payments'],
    ['a: ${EMPTY:-x}', 'a: x'],
    ['a: ${EMPTY}', 'a: '],
    ['a: ${REFERENCE}', 'a: ${HOST}'],
    ['a: |\n  ${LINES}', 'a: |\n  a\nb'],
    ['${HOST}: {${HOST}: ${HOST}}', 'payments: {payments: payments}'],
    ['a: "${HOST}" # ${HOST}', 'a: "payments" # ${HOST}'],
    ['# ${NONE}\r\na: 1', '# ${NONE}\r\na: 1'],
    ['a: "x # ${HOST}"', 'a: "x # payments"'],
    ["a: 'x # ${HOST}'", "a: 'x # payments'"],
    ['a: x#${HOST}', 'a: x#payments'],
    ['a: >\n  # ${HOST}\n', 'a: >\n  # payments\n'],
    ["a: it's # ${NONE}", "a: it's # ${NONE}"],
    ['a: $${HOST}', 'a: ${HOST}'],
    ['a: $$${HOST}', 'a: $${HOST}'],
    ['a: $HOST $ {HOST} $', 'a: $HOST $ {HOST} $'],
  ])('%j', ([source, expected]) => {
    const { text, problems } = substitute(source!, env);
    expect(text).toBe(expected);
    expect(problems).toEqual([]);
  });
});

describe('what cannot be replaced is a problem, and the rest is replaced all the same', () => {
  test.for([
    ['a: ${NONE} ${HOST}', 'the environment variable NONE is not set'],
    ['a: ${} ${HOST}', '"${}" is not a variable'],
    ['a: ${A B} ${HOST}', '"${A B}" is not a variable'],
    ['a: ${HOST-x} ${HOST}', '"${HOST-x}" is not a variable'],
    ['a: ${A:-${HOST}} ${HOST}', 'a default cannot hold another variable'],
    ['a: ${HOST\nb: ${HOST}', 'the closing } is missing'],
  ])('%j', ([source, message]) => {
    const result = substitute(source!, env);
    expect(result.problems).toEqual([{ offset: 3, message: expect.stringContaining(message!) }]);
    expect(result.text).toContain('payments');
    expect(result.isUnknown(3, 4)).toBe(true);
    expect(result.isUnknown(0, 2)).toBe(false);
  });
});

test('every place of the new text leads back to where it was written', () => {
  const plain = fc.constantFrom('a: b', ' ', '\n', 'x', '"', '- ');
  const reference = fc.constantFrom('${HOST}', '${NONE:-default}', '${EMPTY}', '$${HOST}', '${NONE}');
  fc.assert(
    fc.property(fc.array(fc.oneof(plain, reference)), (parts) => {
      const source = parts.join('');
      const substituted = substitute(source, env);
      const { text } = substituted;
      const references = [...source.matchAll(/\$?\$\{[^}]*\}/g)].map((match) => ({
        start: match.index,
        end: match.index + match[0].length,
      }));
      const origins = Array.from({ length: text.length + 1 }, (_, offset) => substituted.original(offset));
      expect(origins).toEqual(origins.toSorted((a, b) => a - b));
      expect(origins.at(-1)).toBe(source.length);
      const copied = [...origins.entries()].filter(
        ([, origin]) => origin < source.length && !references.some(({ start, end }) => origin >= start && origin < end),
      );
      expect(copied.map(([offset]) => text[offset])).toEqual(copied.map(([, origin]) => source[origin]));
    }),
  );
});
