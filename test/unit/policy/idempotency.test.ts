import { describe, expect, test } from 'vitest';
import { conclude, factsOf, noProgress, type AttemptRecord, type Outcome } from '../../../sidecar/model/call.ts';
import {
  decideKeyed,
  endsWithDelivery,
  isIdempotentMethod,
  isWantedAgain,
} from '../../../sidecar/policy/idempotency.ts';
import { sampleAction } from './sample-action.ts';

test.for<[method: string, expected: boolean]>([
  ['GET', true],
  ['HEAD', true],
  ['OPTIONS', true],
  ['TRACE', true],
  ['PUT', true],
  ['DELETE', true],
  ['POST', false],
  ['PATCH', false],
  ['CONNECT', false],
  ['get', false],
  ['PROPFIND', true],
  ['REPORT', true],
  ['SEARCH', true],
  ['QUERY', true],
  // Registered as idempotent, too; but they write, and a repeated one is answered as if it had failed.
  ['MKCOL', false],
  ['MOVE', false],
  ['LOCK', false],
])('%s is idempotent: %s', ([method, expected]) => {
  expect(isIdempotentMethod(method)).toBe(expected);
});

describe('a request with a key', () => {
  const attempt: AttemptRecord = { attempt: 1, evidence: 'no-answer', instance: 'i' };
  const action = sampleAction({ keyed: true, fingerprint: 'same', round: 2 });

  function finished(outcome: Outcome, delivered = false) {
    const response = conclude(action, { ...noProgress, attempts: [attempt] }, outcome, 1);
    return { kind: 'finished' as const, response, delivered };
  }

  test('a key that nobody has used becomes a call', () => {
    expect(decideKeyed(undefined, 'same')).toEqual({ kind: 'store', round: 1, earlier: [] });
  });

  test('an open call is attached to, by the same request only', () => {
    const open = { kind: 'open' as const, call: factsOf(action), fingerprint: 'same' };
    expect(decideKeyed(open, 'same')).toEqual({ kind: 'attach', call: open.call });
    expect(decideKeyed(open, 'other')).toEqual({ kind: 'key-reused' });
  });

  test.for<[outcome: Outcome, step: string]>([
    ['answered', 'serve'],
    ['cancelled', 'serve'],
    ['outcome-unknown', 'serve'],
    ['answer-too-large', 'serve'],
    ['exhausted', 'store'],
    ['deadline-exceeded', 'store'],
    ['discarded', 'store'],
  ])('a call that ended %s: %s', ([outcome, step]) => {
    expect(decideKeyed(finished(outcome), 'same').kind).toBe(step);
    expect(decideKeyed(finished(outcome), 'other').kind).toBe(outcome === 'discarded' ? 'store' : 'key-reused');
  });

  test('the next round counts the attempts of the ones before; after a discard it begins anew', () => {
    expect(decideKeyed(finished('exhausted'), 'same')).toEqual({ kind: 'store', round: 3, earlier: [attempt] });
    expect(decideKeyed(finished('discarded'), 'other')).toEqual({ kind: 'store', round: 3, earlier: [] });
  });

  test.for<[outcome: Outcome, again: boolean]>([
    ['answered', true],
    ['cancelled', true],
    ['answer-too-large', true],
    ['outcome-unknown', false],
    ['exhausted', false],
    ['deadline-exceeded', false],
    ['discarded', false],
  ])('a content whose call ended %s, and was delivered, is wanted again: %s', ([outcome, again]) => {
    expect(isWantedAgain(finished(outcome, true))).toBe(again);
    expect(isWantedAgain(finished(outcome, false))).toBe(false);
    expect(endsWithDelivery(outcome)).toBe(again);
  });

  test('a content whose call is open, or not known, is not wanted again', () => {
    expect(isWantedAgain(undefined)).toBe(false);
    expect(isWantedAgain({ kind: 'open', call: factsOf(action), fingerprint: 'same' })).toBe(false);
  });

  test('an answer counts as replayed only once a caller has had it', () => {
    expect(decideKeyed(finished('answered'), 'same')).toMatchObject({ replayed: false });
    expect(decideKeyed(finished('answered', true), 'same')).toMatchObject({ replayed: true });
  });
});
