import { describe, expect, test } from 'vitest';
import { moment, preciseMoment, printable, span, table } from '../../../sidecar/cli/print.ts';

describe('a table', () => {
  test('aligns its columns to the widest cell and leaves no blanks at the end', () => {
    const text = table(
      ['ID', 'STATUS'],
      [
        ['a-long-id', 200],
        ['b', undefined],
      ],
    );
    expect(text.split('\n')).toEqual(['ID         STATUS', 'a-long-id  200', 'b          -']);
  });

  test('shows control characters instead of sending them to the terminal', () => {
    expect(table(['PATH'], [['/\u001b[2J\n']])).toBe('PATH\n/\\u001b[2J\\u000a');
  });
});

test('printable leaves ordinary text as it is, in any script', () => {
  expect(printable('/übung/日本?q=ü')).toBe('/übung/日本?q=ü');
});

test('printable shows what would turn the direction of writing', () => {
  expect(printable('a\u202eb')).toBe('a\\u202eb');
});

test('moments are UTC and say so', () => {
  expect(moment(Date.UTC(2026, 10, 23, 9, 28, 57, 999))).toBe('2026-11-23 09:28:57Z');
  expect(preciseMoment(Date.UTC(2026, 10, 23, 9, 28, 57, 9))).toBe('2026-11-23 09:28:57.009Z');
});

test.each([
  [0, '0 ms'],
  [12.4, '12 ms'],
  [999, '999 ms'],
  [3400, '3.4 s'],
  [59_970, '1 min'],
  [90_000, '1.5 min'],
  [3_599_999, '1 h'],
  [86_400_000, '1 d'],
  [864_000_000, '10 d'],
])('a span of %d ms reads %s', (ms, text) => {
  expect(span(ms)).toBe(text);
});
