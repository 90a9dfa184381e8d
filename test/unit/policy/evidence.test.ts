import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type Answer, type AttemptRecord, noProgress, type Progress } from '../../../sidecar/model/call.ts';
import { afterAttempt, beforeAttempt, type Observation } from '../../../sidecar/policy/evidence.ts';
import { sampleAction } from './sample-action.ts';

const now = 10_000;
const made = { attempt: 1, at: 9_000, ms: 1_000, instance: '0000a' };
const half = () => 0.5;

function answer(status: number, ...headers: string[]): Answer {
  return { status, reason: '', headers, trailers: [], body: new Uint8Array() };
}
function answered(status: number, ...headers: string[]): Observation {
  return { kind: 'answer', answer: answer(status, ...headers) };
}
const noAnswer: Observation = { kind: 'no-answer', detail: 'reset' };
const notSent: Observation = { kind: 'not-sent', detail: 'refused' };
const tooLarge: Observation = { kind: 'answer-too-large', status: 200, detail: 'over 10 bytes' };

/** A round in which this many attempts were answered with 503. */
function after(attempts: number): Progress {
  const records = Array.from({ length: attempts }, (_, index): AttemptRecord => {
    return { attempt: index + 1, at: index, ms: 1, evidence: 'retry-status', status: 503, instance: '0000a' };
  });
  return attempts === 0 ? noProgress : { attempts: records, answer: answer(503) };
}

test.each<{ what: string; idempotent: boolean; observation: Observation; expected: object }>([
  { what: 'nothing was sent', idempotent: false, observation: notSent, expected: { kind: 'wait' } },
  { what: 'nothing was sent', idempotent: true, observation: notSent, expected: { kind: 'wait' } },
  { what: '200', idempotent: false, observation: answered(200), expected: { kind: 'conclude', outcome: 'answered' } },
  { what: '404', idempotent: true, observation: answered(404), expected: { kind: 'conclude', outcome: 'answered' } },
  { what: '500', idempotent: true, observation: answered(500), expected: { kind: 'conclude', outcome: 'answered' } },
  { what: '503', idempotent: false, observation: answered(503), expected: { kind: 'retry', at: now + 300 } },
  { what: '503', idempotent: true, observation: answered(503), expected: { kind: 'retry', at: now + 300 } },
  {
    what: '429 with Retry-After',
    idempotent: false,
    observation: answered(429, 'RETRY-after', '7'),
    expected: { kind: 'retry', at: now + 7_000 },
  },
  {
    what: '429 with nonsense',
    idempotent: false,
    observation: answered(429, 'Retry-After', 'later'),
    expected: { kind: 'retry', at: now + 300 },
  },
  {
    what: '200 with Retry-After',
    idempotent: false,
    observation: answered(200, 'Retry-After', '7'),
    expected: { kind: 'conclude', outcome: 'answered' },
  },
  { what: 'no answer', idempotent: true, observation: noAnswer, expected: { kind: 'retry', at: now + 300 } },
  {
    what: 'no answer',
    idempotent: false,
    observation: noAnswer,
    expected: { kind: 'conclude', outcome: 'outcome-unknown' },
  },
  {
    what: 'an answer too large',
    idempotent: true,
    observation: tooLarge,
    expected: { kind: 'conclude', outcome: 'answer-too-large' },
  },
  {
    what: 'an answer too large',
    idempotent: false,
    observation: tooLarge,
    expected: { kind: 'conclude', outcome: 'answer-too-large' },
  },
])('evidence - $what, idempotent: $idempotent', ({ idempotent, observation, expected }) => {
  const decision = afterAttempt(sampleAction({ idempotent }), noProgress, made, observation, now, half);
  expect(decision).toMatchObject(expected);
});

test('evidence - the record of an attempt says what was seen', () => {
  const records = [answered(200), answered(503), noAnswer, tooLarge].map((observation) => {
    const decision = afterAttempt(sampleAction({ idempotent: true }), noProgress, made, observation, now, half);
    return decision.kind === 'wait' ? undefined : decision.progress.attempts[0];
  });
  expect(records).toEqual([
    { ...made, evidence: 'answered', status: 200 },
    { ...made, evidence: 'retry-status', status: 503 },
    { ...made, evidence: 'no-answer', detail: 'reset' },
    { ...made, evidence: 'answer-too-large', status: 200, detail: 'over 10 bytes' },
  ]);
});

test.each([
  [199, 'retry'],
  [200, 'conclude'],
  [299, 'conclude'],
  [304, 'retry'],
  [500, 'retry'],
])('evidence - until success, %i means %s', (status, kind) => {
  const retry = { attempts: 8, backoff: { min: 1, max: 1 }, on: [], untilSuccess: true };
  const decision = afterAttempt(sampleAction({ retry }), noProgress, made, answered(status), now, half);
  expect(decision).toMatchObject({ kind, progress: { answer: { status } } });
});

test('evidence - the last of all tries is the end, with the last real answer', () => {
  const action = sampleAction({ idempotent: true });
  expect(afterAttempt(action, after(6), made, answered(503), now, half).kind).toBe('retry');
  const last = afterAttempt(action, after(7), made, answered(502), now, half);
  expect(last).toMatchObject({ kind: 'conclude', outcome: 'exhausted', progress: { answer: { status: 502 } } });
  const silent = afterAttempt(action, after(7), made, noAnswer, now, half);
  expect(silent).toMatchObject({ kind: 'conclude', outcome: 'exhausted', progress: { answer: { status: 503 } } });
});

test('evidence - without any real answer the end has none', () => {
  const action = sampleAction({ idempotent: true, retry: { attempts: 1, backoff: { min: 1, max: 1 }, on: [] } });
  const decision = afterAttempt(action, noProgress, made, noAnswer, now, half);
  expect(decision).toEqual({
    kind: 'conclude',
    outcome: 'exhausted',
    progress: { attempts: [{ ...made, evidence: 'no-answer', detail: 'reset' }] },
  });
});

test('evidence - an unknown outcome does not show the answer of an earlier try as its own', () => {
  const decision = afterAttempt(sampleAction(), after(2), made, noAnswer, now, half);
  expect(decision).toMatchObject({ outcome: 'outcome-unknown', progress: { attempts: { length: 3 } } });
  expect(decision).not.toHaveProperty('progress.answer');
});

test('evidence - a next attempt after the deadline is none, and nobody waits for it', () => {
  const action = sampleAction({ deadline: now + 299 });
  const decision = afterAttempt(action, noProgress, made, answered(503), now, half);
  expect(decision).toMatchObject({
    kind: 'conclude',
    outcome: 'deadline-exceeded',
    progress: { answer: { status: 503 } },
  });
  const asked = afterAttempt(
    sampleAction({ deadline: now + 999 }),
    noProgress,
    made,
    answered(503, 'Retry-After', '1'),
    now,
    half,
  );
  expect(asked).toMatchObject({ kind: 'conclude', outcome: 'deadline-exceeded' });
});

test('delivery - a call that nobody tried is attempted, counting over all rounds', () => {
  const earlier: AttemptRecord[] = [{ attempt: 1, evidence: 'no-answer', instance: '0000b' }];
  expect(beforeAttempt(sampleAction(), noProgress, 0, now)).toMatchObject({ kind: 'attempt', attempt: 1 });
  expect(beforeAttempt(sampleAction({ earlier, round: 2 }), after(2), 0, now)).toMatchObject({
    kind: 'attempt',
    attempt: 4,
  });
});

test('delivery - after the deadline no attempt starts', () => {
  const action = sampleAction({ deadline: now });
  expect(beforeAttempt(action, noProgress, 0, now).kind).toBe('attempt');
  expect(beforeAttempt(action, after(1), 0, now + 1)).toMatchObject({
    kind: 'conclude',
    outcome: 'deadline-exceeded',
    progress: { answer: { status: 503 } },
  });
});

test('delivery - a recorded start of a sidecar that is gone: unknown, or one attempt', () => {
  const progress: Progress = { attempts: [], started: { attempt: 1, at: 5_000, instance: '0000b' } };
  const died = { attempt: 1, at: 5_000, evidence: 'sidecar-died', instance: '0000b' };
  expect(beforeAttempt(sampleAction(), progress, 0, now)).toEqual({
    kind: 'conclude',
    outcome: 'outcome-unknown',
    progress: { attempts: [died] },
  });
  expect(beforeAttempt(sampleAction({ idempotent: true }), progress, 0, now)).toEqual({
    kind: 'attempt',
    attempt: 2,
    progress: { attempts: [died] },
  });
});

test('delivery - each delivery without an end counts as an attempt of an idempotent call', () => {
  const opening = beforeAttempt(sampleAction({ idempotent: true }), after(1), 2, now);
  expect(opening).toMatchObject({ kind: 'attempt', attempt: 4, progress: { answer: { status: 503 } } });
  expect(opening.progress.attempts.slice(1)).toMatchObject([
    { attempt: 2, evidence: 'sidecar-died' },
    { attempt: 3, evidence: 'sidecar-died' },
  ]);
  expect(beforeAttempt(sampleAction({ idempotent: true }), after(1), 7, now)).toMatchObject({ outcome: 'exhausted' });
  expect(beforeAttempt(sampleAction({ idempotent: false }), after(1), 2, now)).toMatchObject({
    kind: 'attempt',
    attempt: 2,
  });
});

test('delivery - a call that comes too early goes back', () => {
  const progress = { ...after(1), notBefore: now + 500 };
  expect(beforeAttempt(sampleAction(), progress, 0, now)).toMatchObject({ kind: 'retry', at: now + 500 });
  expect(beforeAttempt(sampleAction(), progress, 0, now + 500)).toMatchObject({ kind: 'attempt', attempt: 2 });
});

const observations = fc.oneof(
  fc.integer({ min: 200, max: 599 }).map((status) => answered(status)),
  fc
    .tuple(fc.constantFrom(429, 503), fc.integer({ min: 0, max: 200 }))
    .map(([status, s]) => answered(status, 'Retry-After', String(s))),
  fc.constant(noAnswer),
  fc.constant(notSent),
  fc.constant(tooLarge),
);

test('evidence - whatever the service does, a call ends within its attempts and its deadline', () => {
  fc.assert(
    fc.property(
      fc.boolean(),
      fc.integer({ min: 1, max: 10 }),
      fc.array(observations, { minLength: 200, maxLength: 200 }),
      (idempotent, attempts, script) => {
        const action = sampleAction({
          idempotent,
          retry: { attempts, backoff: { min: 10, max: 50_000 }, on: [429, 503] },
        });
        let clock = action.acceptedAt;
        let progress: Progress = noProgress;
        let sent = 0;
        for (const observation of script) {
          const opening = beforeAttempt(action, progress, 0, clock);
          expect(opening.kind).not.toBe('retry');
          if (opening.kind !== 'attempt') return;
          expect(clock).toBeLessThanOrEqual(action.deadline);
          expect(opening.attempt).toBe(sent + 1);
          if (observation.kind !== 'not-sent') sent++;
          expect(sent).toBeLessThanOrEqual(attempts);
          const decision = afterAttempt(
            action,
            opening.progress,
            { ...made, attempt: opening.attempt, at: clock },
            observation,
            clock,
            half,
          );
          if (decision.kind === 'wait') {
            clock += 100;
            continue;
          }
          expect(decision.progress.attempts.map(({ attempt }) => attempt)).toEqual(
            Array.from({ length: sent }, (_, i) => i + 1),
          );
          if (decision.kind === 'conclude') return;
          expect(observation.kind === 'answer' || idempotent).toBe(true);
          expect(decision.at).toBeGreaterThan(clock);
          progress = decision.progress;
          clock = decision.at;
        }
        expect(script.filter(({ kind }) => kind === 'not-sent').length).toBeGreaterThan(script.length - attempts);
      },
    ),
  );
});

const delivery = { subscription: 'mail', event: 'e', topic: 'order.paid' };

test.for<[what: string, on: readonly number[] | undefined, observation: Observation, expected: object]>([
  ['2xx', undefined, answered(204), { kind: 'conclude', outcome: 'answered' }],
  ['a redirect', undefined, answered(302), { kind: 'retry' }],
  ['404', undefined, answered(404), { kind: 'retry' }],
  ['500', undefined, answered(500), { kind: 'retry' }],
  ['a status in on', [503], answered(503), { kind: 'retry' }],
  [
    'a status not in on',
    [503],
    answered(404),
    { kind: 'conclude', outcome: 'exhausted', progress: { answer: { status: 404 } } },
  ],
  ['2xx with on', [503], answered(201), { kind: 'conclude', outcome: 'answered' }],
  ['2xx with a large body', undefined, tooLarge, { kind: 'conclude', outcome: 'answered' }],
  ['500 with a large body', undefined, { ...tooLarge, status: 500 }, { kind: 'retry' }],
  ['no answer', undefined, noAnswer, { kind: 'retry' }],
  ['nothing was sent', undefined, notSent, { kind: 'wait' }],
])('the delivery of an event: %s', ([, on, observation, expected]) => {
  const retry = {
    attempts: 3,
    backoff: { min: 1, max: 2 },
    ...(on === undefined ? { on: [], untilSuccess: true } : { on }),
  };
  const action = sampleAction({ idempotent: true, deadline: now + 1_000_000, retry, delivery });
  expect(afterAttempt(action, noProgress, made, observation, now, half)).toMatchObject(expected);
});
