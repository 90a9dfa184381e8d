import { expect, test } from 'vitest';
import { newestOf } from '../../support/server-matrix.ts';

const released = ['2.9.10', '2.10.4', '2.10.29', '2.11.9', '2.11.10', '2.12.0-RC.1'];

test.for([
  ['2.10', '2.10.29'],
  ['2.11', '2.11.10'],
  ['newest', '2.11.10'],
])('the newest release of %s is %s', ([line, version]) => {
  expect(newestOf(line ?? '', released)).toBe(version);
});

test.for(['2.12', '2.1', '3'])('a line without a release is an error: %s', (line) => {
  expect(() => newestOf(line, released)).toThrow(`no nats-server release ${line}`);
});
