import type { AttemptRecord, CallFacts, DeadLetterReason, Outcome, TraceContext } from '../model/call.ts';

/*
 * What an operator asks of calls and dead letters, and what he is told of them. Part of the port.
 */

export interface CallQuery {
  readonly limit: number;
  readonly caller?: string;
  readonly service?: string;
  readonly state?: CallState;
}

export type CallState = 'waiting' | 'attempting' | 'answered' | 'dead' | 'cancelled';

/** One line of `calls list`. */
export interface CallListing {
  readonly call: CallFacts;
  readonly state: CallState;
  readonly status?: number;
  /** Attempts made so far, as far as recorded. */
  readonly attempts: number;
  readonly finishedAt?: number;
}

/** Callers of one sidecar that were led to a keyed call instead of making another one. */
export interface Attachment {
  /** `waited`: for its answer, too; `served`: the stored answer. */
  readonly how: 'waited' | 'served';
  /** The first time, ms since the epoch. */
  readonly at: number;
  /** The sidecar instance. */
  readonly instance: string;
}

export interface CallStory extends CallListing {
  readonly outcome?: Outcome;
  /** A caller has had the answer (known for keyed calls only). */
  readonly delivered?: boolean;
  /** Oldest first; for keyed calls only, as far as it was remembered. */
  readonly attached?: readonly Attachment[];
  readonly trace?: TraceContext;
  readonly history: readonly AttemptRecord[];
  /** What the call waits for, in words, where that is known. */
  readonly waitingFor?: string;
  readonly notBefore?: number;
}

export interface DeadLetterQuery {
  readonly limit: number;
  readonly service?: string;
  readonly route?: string;
  readonly reason?: DeadLetterReason;
}

export interface DeadLetter {
  readonly call: CallFacts;
  readonly reason: DeadLetterReason;
  readonly status?: number;
  readonly diedAt: number;
  readonly history: readonly AttemptRecord[];
}
