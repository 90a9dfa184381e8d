import { channel, type Channel } from 'node:diagnostics_channel';
import type { AttemptRecord, CallFacts, Outcome, TraceContext } from '../model/call.ts';
import type { ProblemCode } from '../model/problem-code.ts';

/**
 * The typed names on which the rooms tell what happens. Rooms publish; logs, metrics and traces subscribe and are
 * never imported by them. Publishing without a subscriber costs one boolean check (`hasSubscribers`).
 *
 * `trace` is the context that the call's event carries, so that a log line can be joined with its trace.
 */
interface TypedChannel<T> {
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

/** An action event is stored. */
export const callAccepted = typed<{ call: CallFacts; mode: 'await' | 'async'; trace?: TraceContext }>('call-accepted');
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
  /** Time that the caller was kept, ms. */
  heldMs: number;
  trace?: TraceContext;
}>('call-answered');
/** A request went straight to its callee without becoming a call. */
export const passedThrough = typed<{ host: string; method: string; target: string; status: number; ms: number }>(
  'passed-through',
);
/** An attempt ended. */
export const attemptEnded = typed<{ call: CallFacts; attempt: AttemptRecord; trace?: TraceContext }>('attempt-ended');
/** A response event is stored; `outcome` says whether it left a dead letter. */
export const callFinished = typed<{
  call: CallFacts;
  outcome: Outcome;
  status?: number;
  attempts: number;
  trace?: TraceContext;
}>('call-finished');
/** Delivery to the local service paused or resumed. */
export const deliveryChanged = typed<{ service: string; state: 'paused' | 'resumed'; why: string }>('delivery-changed');
/** The connection to the broker came or went. */
export const brokerChanged = typed<{ connected: boolean; detail?: string }>('broker-changed');
/** Something failed that Holdline goes on retrying or that an operator should know of. */
export const trouble = typed<{ where: string; error: Error; callId?: string }>('trouble');
