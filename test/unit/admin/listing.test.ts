import { expect, test } from 'vitest';
import { callJson, deadLetterJson, pathOf, storyJson } from '../../../sidecar/admin/listing.ts';
import { answered, dead, facts, waiting } from '../cli/sample-calls.ts';

test('a listed call has exactly the keys that are promised, null where there is nothing to say', () => {
  expect(callJson(waiting)).toEqual({
    id: facts.id,
    caller: 'orders',
    service: 'payments',
    route: 'charge',
    method: 'POST',
    path: '/charges',
    state: 'waiting',
    status: null,
    attempts: 0,
    acceptedAt: '2026-11-23T09:00:00.000Z',
    finishedAt: null,
  });
});

test('the story of a call is the listed call with its whole target and history', () => {
  expect(storyJson(answered)).toEqual({
    ...callJson(answered),
    target: '/charges?token=abc',
    round: 1,
    deadline: '2026-11-24T09:00:00.000Z',
    idempotent: false,
    keyed: true,
    outcome: 'answered',
    delivered: null,
    attached: [],
    traceId: null,
    traceUrl: null,
    waitingFor: null,
    notBefore: null,
    history: [
      {
        attempt: 1,
        at: '2026-11-23T09:00:00.005Z',
        ms: 12,
        evidence: 'retry-status',
        status: 503,
        detail: null,
        instance: 'a1b2c',
      },
      {
        attempt: 2,
        at: '2026-11-23T09:00:03.000Z',
        ms: 400,
        evidence: 'answered',
        status: 201,
        detail: null,
        instance: 'd3e4f',
      },
    ],
  });
});

test('a dead letter tells its reason, its end and every attempt', () => {
  expect(deadLetterJson(dead)).toMatchObject({
    id: facts.id,
    reason: 'outcome-unknown',
    caller: 'orders',
    service: 'payments',
    route: 'charge',
    method: 'POST',
    path: '/charges',
    status: null,
    diedAt: '2026-11-23T09:00:02.200Z',
    history: [
      { attempt: 1, evidence: 'retry-status', status: 503 },
      { attempt: 2, evidence: 'no-answer', status: null, detail: 'socket hang up' },
    ],
  });
});

test.each([
  ['/charges?a=1?b', '/charges'],
  ['/charges', '/charges'],
  ['*', '*'],
  ['/?', '/'],
])('the path of %s is %s', (target, path) => {
  expect(pathOf(target)).toBe(path);
});

test('a trace is looked at where the configuration says', () => {
  const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
  const story = storyJson({ ...answered, trace }, 'http://tempo.example/{traceId}?again={traceId}');
  const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
  expect(story).toMatchObject({ traceId, traceUrl: `http://tempo.example/${traceId}?again=${traceId}` });
  expect(storyJson({ ...answered, trace })).toMatchObject({ traceId, traceUrl: null });
});
