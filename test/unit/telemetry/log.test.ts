import { pino } from 'pino';
import { afterEach, describe, expect, test } from 'vitest';
import type { CallFacts } from '../../../sidecar/model/call.ts';
import {
  attemptEnded,
  brokerChanged,
  callAccepted,
  callAnswered,
  callFinished,
  deliveryChanged,
  passedThrough,
  trouble,
} from '../../../sidecar/telemetry/channels.ts';
import { logChannels, logLevel } from '../../../sidecar/telemetry/log.ts';

const call: CallFacts = {
  id: '01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10',
  round: 1,
  caller: 'orders',
  service: 'payments',
  route: 'charge',
  method: 'POST',
  target: '/charges?token=geheim',
  acceptedAt: 0,
  deadline: 1,
  idempotent: false,
  keyed: false,
};
const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

let stop: () => void = () => undefined;
afterEach(() => stop());

/** What is logged from now on at this level or above. */
function logged(level: string): Record<string, unknown>[] {
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { level, base: null, timestamp: false, formatters: { level: (label) => ({ level: label }) } },
    { write: (line: string) => lines.push(JSON.parse(line)) },
  );
  stop = logChannels(log);
  return lines;
}

/** One of everything, as a sidecar with one call would publish it. */
function publishAll(): void {
  callAccepted.publish({ call, mode: 'await', storingMs: 1, trace });
  attemptEnded.publish({
    call,
    attempt: { attempt: 1, evidence: 'answered', status: 201, ms: 4.4, instance: 'a' },
    trace,
  });
  callFinished.publish({ call, outcome: 'answered', status: 201, attempts: 1, trace });
  const { id, route, service, method, target } = call;
  callAnswered.publish({ id, route, service, method, target, status: 201, replayed: false, heldMs: 12.6, trace });
  passedThrough.publish({ host: 'payments', method: 'GET', target, status: 200, ms: 3.2 });
  passedThrough.publish({ host: 'payments', method: 'GET', target, status: 200, ms: 3.2, route: 'reads' });
}

test('one line per call and side at debug, with call id and trace id', () => {
  const lines = logged('debug');
  publishAll();
  expect(lines).toEqual([
    {
      level: 'debug',
      callId: call.id,
      from: 'orders',
      to: 'payments',
      route: 'charge',
      method: 'POST',
      path: '/charges',
      traceId,
      outcome: 'answered',
      status: 201,
      attempts: 1,
      msg: 'call finished',
    },
    {
      level: 'debug',
      callId: call.id,
      traceId,
      to: 'payments',
      route: 'charge',
      method: 'POST',
      path: '/charges',
      status: 201,
      heldMs: 13,
      msg: 'caller answered',
    },
    { level: 'debug', host: 'payments', method: 'GET', path: '/charges', status: 200, ms: 3, msg: 'passed through' },
    {
      level: 'debug',
      host: 'payments',
      method: 'GET',
      path: '/charges',
      status: 200,
      ms: 3,
      route: 'reads',
      msg: 'passed through',
    },
  ]);
});

test('nothing of a call that goes well at info', () => {
  const lines = logged('info');
  publishAll();
  expect(lines).toEqual([]);
});

test('acceptance and attempts as well at trace', () => {
  const lines = logged('trace');
  publishAll();
  expect(lines.map(({ msg }) => msg)).toEqual([
    'call accepted',
    'attempt ended',
    'call finished',
    'caller answered',
    'passed through',
    'passed through',
  ]);
});

test('queries, which carry tokens, are not logged at any level', () => {
  const lines = logged('trace');
  publishAll();
  callFinished.publish({ call, outcome: 'exhausted', attempts: 8 });
  expect(lines).not.toHaveLength(0);
  expect(JSON.stringify(lines)).not.toContain('geheim');
});

test('a dead letter is a warning', () => {
  const lines = logged('warn');
  callFinished.publish({ call, outcome: 'outcome-unknown', attempts: 1, trace });
  expect(lines).toMatchObject([
    { level: 'warn', msg: 'dead letter', callId: call.id, traceId, outcome: 'outcome-unknown', attempts: 1 },
  ]);
});

test('a refusal names its problem', () => {
  const lines = logged('debug');
  callAnswered.publish({ method: 'POST', target: '/', status: 503, problem: 'overloaded', replayed: false, heldMs: 0 });
  expect(lines).toMatchObject([{ msg: 'caller refused', status: 503, problem: 'overloaded' }]);
});

describe('what an operator acts on', () => {
  test.each([
    ['warn', () => brokerChanged.publish({ connected: false, detail: 'refused' }), { detail: 'refused' }],
    ['info', () => brokerChanged.publish({ connected: true }), { msg: 'broker connected' }],
    [
      'warn',
      () => deliveryChanged.publish({ service: 'payments', state: 'paused', why: 'refused' }),
      { why: 'refused' },
    ],
    ['info', () => deliveryChanged.publish({ service: 'payments', state: 'resumed', why: 'up' }), { to: 'payments' }],
    [
      'warn',
      () => trouble.publish({ where: 'inbound', error: new Error('stuck'), callId: call.id }),
      { where: 'inbound', msg: 'stuck', callId: call.id },
    ],
  ] as const)('is logged at %s', (level, publish, fields) => {
    const lines = logged('info');
    publish();
    expect(lines).toMatchObject([{ level, ...fields }]);
  });
});

test('afterwards nothing is logged', () => {
  const lines = logged('trace');
  stop();
  publishAll();
  expect(lines).toEqual([]);
});

test('HOLDLINE_LOG_LEVEL goes before the configuration, in any case, and must be a level', () => {
  expect(logLevel('info', {})).toBe('info');
  expect(logLevel('info', { HOLDLINE_LOG_LEVEL: '' })).toBe('info');
  expect(logLevel('info', { HOLDLINE_LOG_LEVEL: 'Debug' })).toBe('debug');
  expect(() => logLevel('info', { HOLDLINE_LOG_LEVEL: 'loud' })).toThrow('"loud" is none of trace, debug');
});
