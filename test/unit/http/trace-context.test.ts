import { expect, test } from 'vitest';
import { callerContext, newTrace } from '../../../sidecar/http/trace-context.ts';

const valid = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
const fresh = /^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/;

test('a valid context goes on, tracestate as one list', () => {
  expect(callerContext([valid], [])).toEqual({ traceparent: valid });
  expect(callerContext([valid], ['a=1', ' ', 'b=2'])).toEqual({ traceparent: valid, tracestate: 'a=1,b=2' });
  expect(callerContext([`01${valid.slice(2)}-more`], [])).toEqual({ traceparent: `01${valid.slice(2)}-more` });
});

test.for<[why: string, traceparents: string[]]>([
  ['none', []],
  ['two', [valid, valid]],
  ['upper case', [valid.toUpperCase()]],
  ['version ff', [`ff${valid.slice(2)}`]],
  ['a field too many for version 00', [`${valid}-more`]],
  ['a trace id of zeros', [`00-${'0'.repeat(32)}-b7ad6b7169203331-01`]],
  ['a parent id of zeros', [`00-0af7651916cd43dd8448eb211c80319c-${'0'.repeat(16)}-01`]],
  ['too short', [valid.slice(0, -1)]],
])('%s: is none', ([, traceparents]) => {
  expect(callerContext(traceparents, ['a=1'])).toBeUndefined();
});

test('new ones are sampled, and differ', () => {
  const made = Array.from({ length: 600 }, () => newTrace().traceparent);
  for (const traceparent of made) expect(traceparent).toMatch(fresh);
  expect(new Set(made).size).toBe(600);
});
