import { channel, type Channel } from 'node:diagnostics_channel';
import type { AttemptRecord, CallFacts, Outcome, Progress, TraceContext } from '../model/call.ts';
import type { ProblemCode } from '../model/problem-code.ts';

/**
 * The typed names on which the rooms tell what happens. Rooms publish; logs, metrics and traces subscribe and are
 * never imported by them. Publishing without a subscriber costs one boolean check (`hasSubscribers`).
 *
 * `trace` is the context that the call's event carries, so that a log line can be joined with its trace.
 */
export interface TypedChannel<T> {
  readonly hasSubscribers: boolean;
  publish(message: T): void;
  subscribe(listener: (message: T) => void): void;
  unsubscribe(listener: (message: T) => void): void;
}

function typed<T>(name: string): TypedChannel<T> {
  const untyped: Channel = channel(`holdline:${name}`);
  const wrapped = new WeakMap<(message: T) => void, (message: unknown) => void>();
  return {
    get hasSubscribers() {
      return untyped.hasSubscribers;
    },
    publish: (message) => untyped.publish(message),
    subscribe(listener) {
      const outer = (message: unknown) => listener(message as T);
      wrapped.set(listener, outer);
      untyped.subscribe(outer);
    },
    unsubscribe(listener) {
      const outer = wrapped.get(listener);
      if (outer !== undefined) untyped.unsubscribe(outer);
    },
  };
}

/** A request is about to become a call. */
export interface CallStarting {
  readonly id: string;
  readonly service: string;
  readonly route: string;
  readonly method: string;
  readonly target: string;
  /** What the caller addressed. */
  readonly host: string;
  readonly port: number;
  readonly bodyBytes: number;
  /** When the head of the request was there, on the clock of `performance.now()`. */
  readonly startedAt: number;
  /** The caller's own context, where it sent a valid one. */
  readonly caller: TraceContext | undefined;
  /** What the event is to carry: a listener puts the context of its span here. Whoever sees this object again sees the same call. */
  trace?: TraceContext;
}
export const callStarting = typed<CallStarting>('call-starting');
/** An action event is stored. */
export const callAccepted = typed<{
  call: CallFacts;
  mode: 'await' | 'async';
  /** How long it took to store it, ms. */
  storingMs: number;
  /** The context of the round before, where the call is carried out again under its key. */
  follows?: TraceContext;
  trace?: TraceContext;
}>('call-accepted');
/** A broadcast event is stored. */
export const eventPublished = typed<{
  id: string;
  topic: string;
  publisher: string;
  route: string;
  trace?: TraceContext;
}>('event-published');
/** A caller got its answer, or a refusal made by Holdline (`problem`). */
export const callAnswered = typed<{
  id?: string;
  route?: string;
  service?: string;
  method: string;
  target: string;
  status: number;
  problem?: ProblemCode;
  replayed: boolean;
  /** How the call ended that it is the answer of. */
  outcome?: Outcome;
  /** The context that this call's event carries: another one than `trace` where the caller attached to an older call. */
  answers?: TraceContext;
  /** Time that the caller was kept, ms. */
  heldMs: number;
  trace?: TraceContext;
}>('call-answered');
/** A caller went away, or was cut off, before it had an answer; its call goes on. */
export const callerGone = typed<{ route: string; service: string; heldMs: number; trace?: TraceContext }>(
  'caller-gone',
);
/** A request went straight to its callee without becoming a call. */
export const passedThrough = typed<{
  host: string;
  method: string;
  target: string;
  status: number;
  ms: number;
  /** The route, where that asks for a report (`mode: observe`) or the call could not be stored. */
  route?: string;
}>('passed-through');
/** A call was delivered to this sidecar. `delivery` is nothing but the identity of this delivery. */
export const deliveryStarted = typed<{
  delivery: object;
  call: CallFacts;
  /** What was recorded before. */
  progress: Progress;
  bodyBytes: number;
  trace?: TraceContext;
}>('delivery-started');
/** A delivery is over: its call is finished, postponed or given back. */
export const deliveryEnded = typed<{ delivery: object }>('delivery-ended');
/** An attempt is about to be sent. */
export interface AttemptStarting {
  readonly delivery: object;
  readonly call: CallFacts;
  /** Counts every attempt ever made for the call, from 1. */
  readonly attempt: number;
  /** `prefix`: what stands before the target of each call. */
  readonly to: { readonly host: string; readonly port: number; readonly secure: boolean; readonly prefix: string };
  /** What the callee gets: a listener puts the context of its span in the place of the event's. */
  trace?: TraceContext;
}
export const attemptStarting = typed<AttemptStarting>('attempt-starting');
/** An attempt ended. */
export const attemptEnded = typed<{
  call: CallFacts;
  attempt: AttemptRecord;
  delivery?: object;
  trace?: TraceContext;
}>('attempt-ended');
/** A response event is stored; `outcome` says whether it left a dead letter. */
export const callFinished = typed<{
  call: CallFacts;
  outcome: Outcome;
  status?: number;
  attempts: number;
  /** How long it took to store it, ms. */
  storingMs?: number;
  delivery?: object;
  trace?: TraceContext;
}>('call-finished');
/** The filter of a subscription did not let an event through, which is settled so; `failed`: it has no value for this one. */
export const eventFiltered = typed<{ call: CallFacts; verdict: 'differs' | 'failed'; trace?: TraceContext }>(
  'event-filtered',
);
/** Delivery to the local service paused or resumed. */
export const deliveryChanged = typed<{ service: string; state: 'paused' | 'resumed'; why: string }>('delivery-changed');
/** The connection to the broker came or went. */
export const brokerChanged = typed<{ connected: boolean; detail?: string }>('broker-changed');
/** An operator did something by the API of the admin listener. */
export const operatorActed = typed<{ action: 'cancelled' | 'replayed' | 'discarded'; id: string }>('operator-acted');
/** Something failed that Holdline goes on retrying or that an operator should know of. */
export const trouble = typed<{ where: string; error: Error; callId?: string; trace?: TraceContext }>('trouble');
