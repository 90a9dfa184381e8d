/**
 * The words of Holdline as types. No I/O here, and nothing that knows a broker.
 *
 * - call: one intercepted HTTP request and its answer, named by a call id.
 * - action event: the stored request of a call.
 * - response event: the stored answer of a call; at most one per call, the first one wins.
 * - attempt: one replay of the action against the callee.
 * - round: the attempts made under one action event. A replayed dead letter, or a key that starts a call again,
 *   opens the next round of the same call.
 * - dead letter: a call that Holdline gave up on, kept with every attempt's history.
 */

/** Header or trailer fields as they stood on the wire: name, value, name, value, … in order, with case and duplicates. */
export type RawHeaders = readonly string[];

/**
 * A body that is stored apart from its event, in chunks, because it is too large to be part of one. Whoever holds a
 * reference can read the body; where it lies is the broker's business.
 */
export interface BodyRef {
  /** Where the broker keeps it. */
  readonly id: string;
  readonly chunks: number;
  /** Bytes of the whole body. */
  readonly size: number;
  /** SHA-256 of the whole body, in hexadecimal. */
  readonly sha256: string;
}

/** What carries a body: in itself, or by reference. */
export interface Bodied {
  /** Empty where the body is stored apart. */
  readonly body: Uint8Array;
  /** The body is stored apart. */
  readonly bodyRef?: BodyRef;
}

/** Bytes of a body, wherever it is. */
export function bodySize({ body, bodyRef }: Bodied): number {
  return bodyRef === undefined ? body.byteLength : bodyRef.size;
}

/** What the route says about repeating an attempt. Travels with the action: the route belongs to the caller. */
export interface RetryPolicy {
  /** All tries of one round, the first included. */
  readonly attempts: number;
  /** Bounds of the pause between two attempts, ms. */
  readonly backoff: { readonly min: number; readonly max: number };
  /** Statuses that count as "try again". */
  readonly on: readonly number[];
  /** Every status but 2xx counts as "try again": the callee is asked to take something, and its answer is no news to anybody. */
  readonly untilSuccess?: boolean;
}

/** W3C trace context of the caller's side, carried in the event's headers. */
export interface TraceContext {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** The stored request of a call. Times are ms since the epoch. */
export interface ActionEvent {
  readonly id: string;
  /** 1 for a new call; see "round" above. */
  readonly round: number;
  readonly caller: string;
  /** The callee. */
  readonly service: string;
  readonly route: string;
  readonly method: string;
  /** Request target in origin form (or `*`), exactly as the caller wrote it. */
  readonly target: string;
  /** End-to-end request headers, hop-by-hop and `Holdline-*` ones already removed, `Host` included. */
  readonly headers: RawHeaders;
  readonly trailers: RawHeaders;
  /** Empty where the body is stored apart. */
  readonly body: Uint8Array;
  /** The body is stored apart: it is too large for the event. */
  readonly bodyRef?: BodyRef;
  /** False where the request had no body at all, which is not the same as an empty one (RFC 9112 §6.3). */
  readonly hasBody: boolean;
  readonly acceptedAt: number;
  /** No attempt starts after this moment. */
  readonly deadline: number;
  readonly idempotent: boolean;
  readonly retry: RetryPolicy;
  /** The id was derived from a key: the answer is kept for the retention of keyed responses. */
  readonly keyed: boolean;
  /** The caller's own `Idempotency-Key`, passed on to the callee; absent: the callee gets the call id. */
  readonly idempotencyKey?: string;
  /** Digest of target, content type and body: what "the same request" means under one key. */
  readonly fingerprint: string;
  /** An answer with a larger body is `answer-too-large`, bytes. */
  readonly maxBody: number;
  /** Calls of one service with the same order key run one after another. */
  readonly orderKey?: string;
  /** Attempts of earlier rounds; `Holdline-Attempt` counts on from them. */
  readonly earlier: readonly AttemptRecord[];
  /** Where at the caller's own service the answer is replayed to, as a call of its own. */
  readonly callback?: { readonly method: string; readonly target: string };
  /** This call is such a callback: it carries the answer of that call. */
  readonly answerTo?: { readonly id: string; readonly status: number };
  readonly trace?: TraceContext;
  /** Present where this is the delivery of a broadcast event and no call: there is no answer, any 2xx settles it. */
  readonly delivery?: DeliveryFacts;
}

/** Which event is delivered to which subscription of `service`. */
export interface DeliveryFacts {
  readonly subscription: string;
  /** The event's id. */
  readonly event: string;
  readonly topic: string;
  /** The finished call that the event tells of. */
  readonly call?: ToldCall;
}

/** What subscriptions to finished calls choose by. */
export interface ToldCall {
  readonly method: string;
  readonly target: string;
  /** Of the answer, as `GET` gives it. */
  readonly status: number;
}

/** The latest moment that a date can hold: of what may be started at any time, ms since the epoch. */
export const noDeadline = 8_640_000_000_000_000;

/**
 * What an attempt proved:
 * - `answered`: a full answer with a status that is final for this call.
 * - `retry-status`: a full answer with a status listed in `retry.on`.
 * - `not-sent`: nothing reached the callee (refused, DNS, TLS, health check red). Costs no attempt, so it is recorded only where it
 *   ends the call: the stored request is lost.
 * - `no-answer`: sent, but no whole answer came back (reset, timeout).
 * - `sidecar-died`: started by a sidecar that ended before it could tell.
 * - `answer-too-large`: the answer's body went over `maxBody`.
 */
export type Evidence = 'answered' | 'retry-status' | 'not-sent' | 'no-answer' | 'sidecar-died' | 'answer-too-large';

/** One line of a call's history. */
export interface AttemptRecord {
  /** Counts every attempt ever made for the call, from 1. */
  readonly attempt: number;
  /** Start, ms since the epoch; absent where only the fact is known (`sidecar-died`). */
  readonly at?: number;
  /** Duration, ms. */
  readonly ms?: number;
  readonly evidence: Evidence;
  readonly status?: number;
  /** What went wrong, for people. */
  readonly detail?: string;
  /** The sidecar instance that made the attempt. */
  readonly instance: string;
}

/** A callee's real answer. */
export interface Answer {
  readonly status: number;
  readonly reason: string;
  /** End-to-end headers in wire order. */
  readonly headers: RawHeaders;
  readonly trailers: RawHeaders;
  /** Empty where the body is stored apart. */
  readonly body: Uint8Array;
  /** The body is stored apart: it is too large for the event. */
  readonly bodyRef?: BodyRef;
}

/** How a call ended. All but `answered` and `cancelled` leave a dead letter; see {@link isDeadLetter}. */
export type Outcome =
  | 'answered'
  | 'cancelled'
  | 'exhausted'
  | 'deadline-exceeded'
  | 'outcome-unknown'
  | 'answer-too-large'
  /** A dead letter that an operator discarded: the key is free, the id no longer known. */
  | 'discarded';

/** The reasons a dead letter can have; each is a problem code too. */
export const deadLetterReasons = ['exhausted', 'deadline-exceeded', 'outcome-unknown', 'answer-too-large'] as const;
export type DeadLetterReason = (typeof deadLetterReasons)[number];

export function isDeadLetter(outcome: Outcome): outcome is DeadLetterReason {
  return (deadLetterReasons as readonly string[]).includes(outcome);
}

/** What lists and stories tell of a call without its bodies. */
export interface CallFacts {
  readonly id: string;
  readonly round: number;
  readonly caller: string;
  readonly service: string;
  readonly route: string;
  readonly method: string;
  readonly target: string;
  readonly acceptedAt: number;
  readonly deadline: number;
  readonly idempotent: boolean;
  readonly keyed: boolean;
  readonly delivery?: DeliveryFacts;
}

/** The stored answer of a call. */
export interface ResponseEvent {
  readonly call: CallFacts;
  readonly outcome: Outcome;
  /** The callee's (last) real answer; absent where it never gave one. */
  readonly answer?: Answer;
  /** Fingerprint of the request that it answers. */
  readonly fingerprint: string;
  /** Every attempt of every round. */
  readonly attempts: readonly AttemptRecord[];
  readonly finishedAt: number;
  readonly trace?: TraceContext;
}

/** How far a call of the current round has come; stored whenever it must outlive a process. */
export interface Progress {
  /** Attempts of this round that ended. */
  readonly attempts: readonly AttemptRecord[];
  /** A recorded start with no recorded end. */
  readonly started?: { readonly attempt: number; readonly at: number; readonly instance: string };
  /** The last real answer so far. */
  readonly answer?: Answer;
  /** No attempt before this moment, ms since the epoch. */
  readonly notBefore?: number;
}

export const noProgress: Progress = Object.freeze({ attempts: [] });

export function factsOf(action: ActionEvent): CallFacts {
  const { id, round, caller, service, route, method, target, acceptedAt, deadline, idempotent, keyed } = action;
  const facts = { id, round, caller, service, route, method, target, acceptedAt, deadline, idempotent, keyed };
  return action.delivery === undefined ? facts : { ...facts, delivery: action.delivery };
}

/**
 * The response event that ends `action` with `outcome`, telling what `progress` knows.
 * @param now ms since the epoch
 */
export function conclude(action: ActionEvent, progress: Progress, outcome: Outcome, now: number): ResponseEvent {
  return {
    call: factsOf(action),
    outcome,
    ...(progress.answer !== undefined && { answer: progress.answer }),
    fingerprint: action.fingerprint,
    attempts: [...action.earlier, ...progress.attempts],
    finishedAt: now,
    ...(action.trace !== undefined && { trace: action.trace }),
  };
}

/**
 * The action event that carries a dead letter out again: the next round of the same call, with as much time as the call
 * was given at first.
 * @param history every attempt made so far
 * @param now ms since the epoch
 */
export function nextRound(action: ActionEvent, history: readonly AttemptRecord[], now: number): ActionEvent {
  return {
    ...action,
    round: action.round + 1,
    acceptedAt: now,
    deadline: Math.min(noDeadline, now + (action.deadline - action.acceptedAt)),
    earlier: history,
  };
}
