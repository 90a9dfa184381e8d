import { describe, expect, test } from 'vitest';
import { callbackOf } from '../../../sidecar/http/callback.ts';
import { conclude, type Answer, type Outcome } from '../../../sidecar/model/call.ts';
import { isCallId, readCallId, serviceHint } from '../../../sidecar/model/call-id.ts';
import { sampleAction } from '../policy/sample-action.ts';

const now = 5_000;
const callback = { method: 'POST', target: '/charge-done' };
const action = sampleAction({ callback });
const answer: Answer = {
  status: 201,
  reason: 'Created',
  headers: ['X-A', '1', 'x-a', '2', 'Connection', 'x-hop', 'X-Hop', 'gone', 'Content-Length', '2', 'Host', 'evil'],
  trailers: ['X-Sum', '7'],
  body: Buffer.from('ok'),
};

function told(outcome: Outcome, given?: Answer, of = action) {
  const progress = given === undefined ? { attempts: [] } : { attempts: [], answer: given };
  return callbackOf(of, conclude(of, progress, outcome, now));
}

describe('the callback', () => {
  test('carries the answer without what is for its connection or would mislead in a request', () => {
    expect(told('answered', answer)).toMatchObject({
      headers: ['X-A', '1', 'x-a', '2', 'Content-Length', '2'],
      trailers: ['X-Sum', '7'],
      answerTo: { id: action.id, status: 201 },
      caller: 'payments',
      service: 'orders',
      ...callback,
      acceptedAt: now,
      deadline: now + action.deadline - action.acceptedAt,
      idempotent: true,
      retry: { untilSuccess: true, attempts: 8 },
    });
  });

  test.each<[Outcome, Answer | undefined, number]>([
    ['exhausted', answer, 201],
    ['exhausted', undefined, 502],
    ['deadline-exceeded', undefined, 504],
    ['outcome-unknown', undefined, 502],
    ['answer-too-large', undefined, 502],
    ['cancelled', undefined, 410],
  ])('of a call that ended %s is what GET gives', (outcome, given, status) => {
    const event = told(outcome, given);
    expect(event?.answerTo).toEqual({ id: action.id, status });
    if (given === undefined) {
      expect(JSON.parse(Buffer.from(event!.body).toString())).toMatchObject({ status, callId: action.id });
    }
  });

  test('is the same for everybody who ends the round so, and another for another end', () => {
    const ids = [
      told('answered', answer),
      told('answered', answer),
      told('exhausted'),
      told('answered', answer, { ...action, round: 2 }),
      told('answered', answer, { ...action, id: '01890a5d-ac96-774b-8cce-b302099a8058' }),
    ].map((event) => event!.id);
    expect(new Set(ids).size).toBe(4);
    expect(ids[0]).toBe(ids[1]);
    for (const id of ids) {
      expect(isCallId(id)).toBe(true);
      expect(readCallId(id)).toEqual({ keyed: true, hint: serviceHint('orders') });
    }
  });

  test('is none where nobody asked for it, and none of a letter that was discarded', () => {
    expect(told('answered', answer, sampleAction())).toBeUndefined();
    expect(told('discarded')).toBeUndefined();
  });
});
