import { expect, test } from 'vitest';
import {
  concludeOverdue,
  packAction,
  packProgress,
  packResponse,
  unpackProgress,
} from '../../../../sidecar/broker/sqlite/packing.ts';
import { anAction, anAnswer, anAttempt, answered, plain } from '../../../conformance/events.ts';

const action = anAction({ id: 'id', earlier: [anAttempt(1, 'retry-status')] });

test('progress comes back as it went, without what is stored beside it', () => {
  const progress = { attempts: [anAttempt(1, 'retry-status')], answer: anAnswer('busy', { status: 503 }) };
  const started = { attempt: 2, at: 5, instance: 'x' };
  const packed = packProgress({ ...progress, started, notBefore: 7 }, false);
  expect(plain(unpackProgress({ progress: packed ?? undefined }))).toEqual(plain(progress));
  expect(plain(unpackProgress({ progress: packed ?? undefined, started: JSON.stringify(started) }))).toEqual(
    plain({ ...progress, started }),
  );
});

test('progress that says nothing takes no room', () => {
  expect(packProgress({ attempts: [], notBefore: 7 }, false)).toBeNull();
  expect(unpackProgress({})).toEqual({ attempts: [] });
});

test('what goes to the thread carries its own bytes and no pool of others', () => {
  for (const { event } of [packAction(action), packResponse(answered(action, 'done'))]) {
    expect(event.buffer.byteLength).toBe(event.byteLength);
  }
});

test('an overdue call ends with what is known, and each attempt that died is told', () => {
  const answer = anAnswer('busy', { status: 503 });
  const progress = { attempts: [anAttempt(2, 'retry-status')], answer };
  const response = concludeOverdue(action, progress, 2, 99);
  expect(response).toMatchObject({ outcome: 'deadline-exceeded', answer, finishedAt: 99 });
  expect(response.attempts.map(({ attempt, evidence }) => [attempt, evidence])).toEqual([
    [1, 'retry-status'],
    [2, 'retry-status'],
    [3, 'sidecar-died'],
    [4, 'sidecar-died'],
  ]);
});

test('an overdue call of which a start is on record ends unknown', () => {
  const started = { attempt: 2, at: 5, instance: 'x' };
  const response = concludeOverdue(action, { attempts: [], started }, 0, 99);
  expect(response.outcome).toBe('outcome-unknown');
  expect(response.attempts.at(-1)).toEqual({ ...started, evidence: 'sidecar-died' });
});
