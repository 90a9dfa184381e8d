import { describe, expect, test } from 'vitest';
import type { CallStory } from '../../../sidecar/broker/port.ts';
import { tellCall, tellDeadLetter } from '../../../sidecar/cli/story.ts';
import { answered, dead, facts, nine, refusedOnce } from './sample-calls.ts';

const open: CallStory = { call: facts, state: 'waiting', attempts: 1, history: [refusedOnce] };

describe('the story of a call', () => {
  test('tells acceptance, attempts and end in order, with times', () => {
    expect(tellCall(answered, nine + 99_999).split('\n')).toEqual([
      'call 01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10',
      '  POST /charges?token=abc',
      '  from orders to payments by route charge',
      '  not idempotent: never sent again without an answer; named by its key',
      '',
      '  2026-11-23 09:00:00.000Z  accepted from orders, to be started before 2026-11-24 09:00:00.000Z',
      '  2026-11-23 09:00:00.005Z  attempt 1 by sidecar a1b2c: answered 503, which the route tries again, after 12 ms',
      '  2026-11-23 09:00:03.000Z  attempt 2 by sidecar d3e4f: answered 201 after 400 ms',
      '  2026-11-23 09:00:03.400Z  finished: orders is answered 201, 3.4 s after it was accepted',
    ]);
  });

  test('names the trace, and says whether a caller has had the answer of a keyed call', () => {
    const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
    const had = tellCall({ ...answered, trace, delivered: true }, nine);
    expect(had).toContain('\n  trace 4bf92f3577b34da6a3ce929d0e0e4736\n');
    const linked = tellCall({ ...answered, trace }, nine, 'http://127.0.0.1:16686/trace/{traceId}');
    expect(linked).toContain('\n  trace http://127.0.0.1:16686/trace/4bf92f3577b34da6a3ce929d0e0e4736\n');
    expect(had).toContain('a caller has had this answer');
    expect(tellCall({ ...answered, delivered: false }, nine)).toContain('no caller has had this answer yet');
  });

  test('of an attempt that nobody told of it does not name a sidecar', () => {
    const lost = { attempt: 1, evidence: 'sidecar-died', instance: 'unknown' } as const;
    const told = tellCall({ ...open, history: [lost] }, nine);
    expect(told).toContain('attempt 1 by a sidecar that is gone: the sidecar ended before it could tell');
  });

  test('says who attached, and when', () => {
    const attached = [
      { how: 'waited', at: nine + 2000, instance: 'd3e4f' },
      { how: 'served', at: nine + 9000, instance: 'a1b2c' },
    ] as const;
    const lines = tellCall({ ...answered, attached }, nine + 99_999)
      .split('\n')
      .slice(6);
    expect(lines.map((line) => line.slice(2, 26))).toEqual([
      '2026-11-23 09:00:00.005Z',
      '2026-11-23 09:00:02.000Z',
      '2026-11-23 09:00:03.000Z',
      '2026-11-23 09:00:03.400Z',
      '2026-11-23 09:00:09.000Z',
    ]);
    expect(lines[1]).toContain('another caller with the key attaches at sidecar d3e4f and waits for the same answer');
    expect(lines[4]).toContain('attaches at sidecar a1b2c and is served the stored answer');
  });

  test('of a call that was started again puts the new beginning behind the attempts of the rounds before', () => {
    const call = { ...facts, round: 2, acceptedAt: nine + 2000 };
    const lines = tellCall({ ...answered, call }, nine + 99_999)
      .split('\n')
      .slice(5);
    expect(lines.map((line) => line.slice(13, 62))).toEqual([
      '09:00:00.005Z  attempt 1 by sidecar a1b2c: answer',
      '09:00:02.000Z  started again by its key or an ope',
      '09:00:03.000Z  attempt 2 by sidecar d3e4f: answer',
      '09:00:03.400Z  finished: orders is answered 201, ',
    ]);
    expect(lines.at(-1)).toContain('1.4 s after it was started again');
  });

  test('of a call whose callee has a slower clock begins with its acceptance', () => {
    const history = [{ ...refusedOnce, at: nine - 300 }];
    const [first] = tellCall({ ...open, history }, nine + 10)
      .split('\n')
      .slice(5);
    expect(first).toContain('accepted from orders');
  });

  test('says what an open call waits for, until when', () => {
    const story = { ...open, waitingFor: 'its next attempt', notBefore: nine + 4000 };
    expect(tellCall(story, nine + 2000)).toContain(
      '2026-11-23 09:00:02.000Z  now: waits for its next attempt; next attempt in 2 s; deadline in 1 d',
    );
  });

  test('says whom it waits for where nothing else is known', () => {
    expect(tellCall(open, nine + 2000)).toContain('now: waits for a sidecar of payments');
  });

  test('says that an attempt is under way', () => {
    expect(tellCall({ ...open, state: 'attempting' }, nine)).toContain('now: an attempt is under way');
  });

  test.each([
    ['cancelled', 'cancelled; it is not carried out'],
    ['exhausted', 'became a dead letter: exhausted'],
    ['deadline-exceeded', 'became a dead letter: deadline-exceeded'],
    ['outcome-unknown', 'became a dead letter: outcome-unknown'],
    ['answer-too-large', 'became a dead letter: answer-too-large'],
    ['discarded', 'discarded by an operator'],
  ] as const)('tells the end %s', (outcome, words) => {
    const state = outcome === 'cancelled' ? 'cancelled' : 'dead';
    expect(tellCall({ ...open, state, outcome, finishedAt: nine + 10 }, nine + 20)).toContain(words);
  });

  test.each([
    ['not-sent', 'nothing was sent'],
    ['no-answer', 'sent, no whole answer came back'],
    ['sidecar-died', 'the sidecar ended before it could tell'],
    ['answer-too-large', 'with a body over maxBody'],
  ] as const)('tells the evidence %s', (evidence, words) => {
    const history = [{ attempt: 1, evidence, instance: 'a1b2c' }];
    expect(tellCall({ ...open, history }, nine)).toContain(words);
  });

  test('shows what a peer has sent without letting it touch the terminal', () => {
    const history = [{ ...refusedOnce, detail: 'bad\u001b[31m' }];
    expect(tellCall({ ...open, history }, nine)).toContain('(bad\\u001b[31m)');
  });
});

test('a dead letter says why it died and what can be done', () => {
  const text = tellDeadLetter(dead);
  expect(text).toContain('2026-11-23 09:00:02.200Z  became a dead letter: outcome-unknown');
  expect(text).toContain('attempt 2 by sidecar a1b2c: sent, no whole answer came back after 1.2 s (socket hang up)');
  expect(text).toContain(`holdline dead-letters replay ${facts.id}`);
  expect(text).toContain(`holdline dead-letters discard ${facts.id}`);
});
