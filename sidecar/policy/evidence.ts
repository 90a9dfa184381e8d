import type { ActionEvent, Answer, AttemptRecord, Outcome, Progress, RawHeaders, RetryPolicy } from '../model/call.ts';
import { backoff, retryAfter } from './backoff.ts';

/**
 * Retries follow evidence (contract section 5): what is known about one attempt decides what becomes of its call.
 *
 * | what happened                                    | then                                                        |
 * |--------------------------------------------------|-------------------------------------------------------------|
 * | nothing was sent                                 | `wait` for the service; costs no attempt, leaves no record  |
 * | answer with a status in `retry.on`,              | `retry`, at its `Retry-After` or after a backoff            |
 * | … or `retry.untilSuccess` and not 2xx            |                                                             |
 * | any other answer                                 | `answered`                                                  |
 * | … to the delivery of an event, and not 2xx       | `exhausted`                                                 |
 * | answer over the limit                            | `answer-too-large`                                          |
 * | sent, no whole answer, or the sidecar died: …    |                                                             |
 * | … idempotent                                     | `retry`, after a backoff                                    |
 * | … not idempotent                                 | `outcome-unknown`                                           |
 *
 * A request whose stored body is lost can never be sent: `exhausted`, see {@link cannotBeSent}.
 *
 * A `retry` becomes `exhausted` when the round has no try left, and `deadline-exceeded` when the next attempt could
 * not start before the deadline: nothing can change by then, so nobody has to wait for it.
 *
 * Pure: time and chance come in as arguments.
 */

/** What one attempt showed. */
export type Observation =
  | { readonly kind: 'answer'; readonly answer: Answer }
  | { readonly kind: 'not-sent'; readonly detail: string }
  | { readonly kind: 'no-answer'; readonly detail: string }
  | { readonly kind: 'answer-too-large'; readonly status: number; readonly detail: string };

/** Which attempt it was. */
export interface Attempt {
  /** Counts every attempt ever made for the call, from 1. */
  readonly attempt: number;
  /** Start, ms since the epoch. */
  readonly at: number;
  /** Duration, ms. */
  readonly ms: number;
  readonly instance: string;
}

export type Conclusion = {
  readonly kind: 'conclude';
  readonly outcome: Exclude<Outcome, 'cancelled' | 'discarded'>;
  readonly progress: Progress;
};
export type Postponement = {
  readonly kind: 'retry';
  /** Not before this moment, ms since the epoch. */
  readonly at: number;
  readonly progress: Progress;
};

/** What to do with a call that was just delivered. `attempt`: make the attempt of this number. */
export type Opening =
  | { readonly kind: 'attempt'; readonly attempt: number; readonly progress: Progress }
  | Conclusion
  | Postponement;

/** What to do with a call after an attempt. `wait`: give it back, the service has to come up first. */
export type Decision = Conclusion | Postponement | { readonly kind: 'wait' };

const nothing = new Uint8Array(0);
/** Who made an attempt of which only the fact is known. */
const UNKNOWN_INSTANCE = 'unknown';

/**
 * Decides what a delivered call needs.
 *
 * @param progress what is recorded of this round; a `started` in it is the attempt of a sidecar that is gone
 * @param unaccounted deliveries of which nobody recorded an end: for an idempotent call each is counted as an attempt,
 *   since it may have been one
 * @param now ms since the epoch
 */
export function beforeAttempt(action: ActionEvent, progress: Progress, unaccounted: number, now: number): Opening {
  const { started } = progress;
  let known = progress;
  if (started !== undefined) {
    const { attempt, at, instance } = started;
    known = withRecord(known, { attempt, at, evidence: 'sidecar-died', instance });
    if (!action.idempotent) return giveUp('outcome-unknown', known);
  } else if (action.idempotent) {
    for (let i = 0; i < unaccounted; i++) {
      const attempt = nextAttempt(action, known);
      known = withRecord(known, { attempt, evidence: 'sidecar-died', instance: UNKNOWN_INSTANCE });
    }
  }
  if (isExhausted(action, known)) return { kind: 'conclude', outcome: 'exhausted', progress: known };
  if (now > action.deadline) return { kind: 'conclude', outcome: 'deadline-exceeded', progress: known };
  if (known.notBefore !== undefined && known.notBefore > now) return retryAt(action, known, known.notBefore);
  return { kind: 'attempt', attempt: nextAttempt(action, known), progress: known };
}

/**
 * Decides what follows from an attempt.
 *
 * @param progress what was known before the attempt (from {@link beforeAttempt})
 * @param now ms since the epoch
 * @param random as `Math.random`
 */
export function afterAttempt(
  action: ActionEvent,
  progress: Progress,
  made: Attempt,
  observation: Observation,
  now: number,
  random: () => number,
): Decision {
  switch (observation.kind) {
    case 'not-sent':
      return { kind: 'wait' };
    case 'answer': {
      const { answer } = observation;
      const again = asksForRetry(action.retry, answer.status);
      const evidence = again ? 'retry-status' : 'answered';
      const known = { ...withRecord(progress, { ...made, evidence, status: answer.status }), answer };
      if (!again)
        return {
          kind: 'conclude',
          outcome: isTaken(action, answer.status) ? 'answered' : 'exhausted',
          progress: known,
        };
      const asked = fieldOf(answer.headers, 'retry-after');
      return tryAgain(action, known, asked === undefined ? undefined : retryAfter(asked, now), now, random);
    }
    case 'no-answer': {
      const known = withRecord(progress, { ...made, evidence: 'no-answer', detail: observation.detail });
      if (!action.idempotent) return giveUp('outcome-unknown', known);
      return tryAgain(action, known, undefined, now, random);
    }
    case 'answer-too-large': {
      const { status, detail } = observation;
      // Of a subscriber's answer only the status is wanted.
      if (action.delivery !== undefined) {
        const answer = { status, reason: '', headers: [], trailers: [], body: nothing };
        return afterAttempt(action, progress, made, { kind: 'answer', answer }, now, random);
      }
      return giveUp(
        'answer-too-large',
        withRecord(progress, { ...made, evidence: 'answer-too-large', status, detail }),
      );
    }
    default:
      return observation satisfies never;
  }
}

/** An event has no caller who could look at an error. */
function isTaken({ delivery }: ActionEvent, status: number): boolean {
  return delivery === undefined || isSuccess(status);
}

/** 2xx. */
export function isSuccess(status: number): boolean {
  return status >= 200 && status <= 299;
}

/** Whether an answer with this status means that the call is to be tried again. */
export function asksForRetry({ on, untilSuccess }: RetryPolicy, status: number): boolean {
  return on.includes(status) || (untilSuccess === true && !isSuccess(status));
}

/** What becomes of a call whose request is lost: nothing was sent of it, and nothing can be any more. */
export function cannotBeSent(progress: Progress, made: Attempt, detail: string): Conclusion {
  return {
    kind: 'conclude',
    outcome: 'exhausted',
    progress: withRecord(progress, { ...made, evidence: 'not-sent', detail }),
  };
}

function tryAgain(
  action: ActionEvent,
  known: Progress,
  asked: number | undefined,
  now: number,
  random: () => number,
): Conclusion | Postponement {
  if (isExhausted(action, known)) return { kind: 'conclude', outcome: 'exhausted', progress: known };
  return retryAt(action, known, asked ?? now + backoff(action.retry.backoff, known.attempts.length, random));
}

function retryAt(action: ActionEvent, known: Progress, at: number): Conclusion | Postponement {
  if (at > action.deadline) return { kind: 'conclude', outcome: 'deadline-exceeded', progress: known };
  return { kind: 'retry', at, progress: { ...known, notBefore: at } };
}

/** An earlier real answer is not passed on here: it would read as if it were what the last attempt had led to. */
function giveUp(outcome: 'outcome-unknown' | 'answer-too-large', known: Progress): Conclusion {
  return { kind: 'conclude', outcome, progress: { attempts: known.attempts } };
}

function isExhausted(action: ActionEvent, known: Progress): boolean {
  return known.attempts.length >= action.retry.attempts && known.attempts.length > 0;
}

function nextAttempt(action: ActionEvent, known: Progress): number {
  return action.earlier.length + known.attempts.length + 1;
}

/** Forgets `started` and `notBefore`, which the record has overtaken. */
function withRecord(progress: Progress, record: AttemptRecord): Progress {
  const attempts = [...progress.attempts, record];
  return progress.answer === undefined ? { attempts } : { attempts, answer: progress.answer };
}

function fieldOf(headers: RawHeaders, name: string): string | undefined {
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]?.toLowerCase() === name) return headers[i + 1];
  }
  return undefined;
}
