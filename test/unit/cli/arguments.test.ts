import { InvalidArgumentError } from 'commander';
import { expect, test } from 'vitest';
import { parseCount, parseRate } from '../../../sidecar/cli/arguments.ts';

test.each([
  ['1', 1],
  ['500', 500],
])('%s is a count', (text, count) => {
  expect(parseCount(text)).toBe(count);
});

test.each(['0', '-1', '1.5', '1e3', 'all', '', '99999999999999999999'])('%j is no count', (text) => {
  expect(() => parseCount(text)).toThrow(InvalidArgumentError);
});

test('rates are written as in the configuration', () => {
  expect(parseRate('10/s')).toEqual({ count: 10, perMs: 1000 });
  expect(parseRate('30/m')).toEqual({ count: 30, perMs: 60_000 });
  expect(() => parseRate('10')).toThrow(InvalidArgumentError);
  expect(() => parseRate('0/s')).toThrow(InvalidArgumentError);
});
