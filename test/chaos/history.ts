import { appendFileSync, existsSync, readFileSync } from 'node:fs';
import type { BroadcastHistoryEvent } from './broadcast-history.ts';

/**
 * The recorded history: everything that was sent, answered and executed, and the faults in between, as JSON lines.
 *
 * A *token* names one intent of a caller and travels in the request, so that what the service did can be matched to
 * what the caller wanted. An *exchange* is one HTTP request and its end: an intent with a key may take several. Times
 * are ms since the epoch; all processes run on one machine and so read one clock.
 */
export type HistoryEvent =
  | Invoke
  | Accepted
  | Answered
  | Refused
  | Unknown
  | Missing
  | Cancelled
  | Attempted
  | Replayed
  | Letter
  | Listed
  | Crashed
  | FaultMark
  | BroadcastHistoryEvent;

/** A caller is about to send a request; written before the first byte. */
export interface Invoke {
  readonly type: 'invoke';
  readonly at: number;
  readonly token: string;
  readonly exchange: string;
  /** The sidecar that the request goes to. */
  readonly via: string;
  /** What kind of work it is, for people. */
  readonly work: string;
  /** Whether the route says that the call may be repeated. */
  readonly idempotent: boolean;
  /** The `Idempotency-Key` that was sent. */
  readonly key?: string;
  /** The route takes the content for the key. */
  readonly content?: boolean;
  /** The answer is to come to the callers' own service, too. */
  readonly callback?: boolean;
  /** The route's deadline, ms from acceptance; absent: longer than any run. */
  readonly deadline?: number;
  /** Where the call stands among those of its order key. */
  readonly order?: { readonly key: string; readonly position: number };
}

/** The caller was told that the call goes on: 202, 504 or 503 with a `Location`. */
export interface Accepted {
  readonly type: 'accepted';
  readonly at: number;
  readonly token: string;
  readonly exchange: string;
  readonly call: string;
  readonly status: number;
}

/** An answer of a call: the callee's, or Holdline's own for a dead letter. */
export interface Answered {
  readonly type: 'answered';
  readonly at: number;
  /** When the request that brought it was sent. */
  readonly asked: number;
  /** Absent where a call was looked up that no caller knew of. */
  readonly token?: string;
  /** Absent for a look-up by call id. */
  readonly exchange?: string;
  readonly via: string;
  readonly call: string;
  readonly status: number;
  /** Digest of reason phrase, end-to-end headers and body. */
  readonly digest: string;
  /** What the answer itself says of the execution that made it. */
  readonly echo?: { readonly token: string; readonly nonce: string };
  /** `Holdline-Outcome`. */
  readonly outcome?: string;
  /** `Holdline-Error`. */
  readonly error?: string;
}

/** A request of which nothing was accepted: a refusal without a `Location`, or no connection at all. */
export interface Refused {
  readonly type: 'refused';
  readonly at: number;
  readonly token: string;
  readonly exchange: string;
  readonly status: number;
  readonly code: string;
}

/** The connection ended without an answer: the call may have been accepted or not. */
export interface Unknown {
  readonly type: 'unknown';
  readonly at: number;
  readonly token: string;
  readonly exchange: string;
  readonly detail: string;
}

/** A look-up by call id was told that there is no such call. */
export interface Missing {
  readonly type: 'missing';
  readonly at: number;
  readonly token?: string;
  readonly via: string;
  readonly call: string;
}

/** A caller cancelled its call and was told so (204). */
export interface Cancelled {
  readonly type: 'cancelled';
  readonly at: number;
  readonly token: string;
  readonly via: string;
  readonly call: string;
}

/** The service had the whole request; written before it answers. */
export interface Attempted {
  readonly type: 'attempted';
  readonly at: number;
  readonly token: string;
  readonly service: string;
  readonly call: string;
  readonly attempt: number;
  readonly nonce: string;
  /** Whether the service carried it out. A 503 says that it did not. */
  readonly executed: boolean;
  readonly behaviour: string;
}

/** An operator replayed the dead letter of a call. */
export interface Replayed {
  readonly type: 'replayed';
  readonly at: number;
  readonly call: string;
}

/** On the list of dead letters at the end. */
export interface Letter {
  readonly type: 'letter';
  readonly at: number;
  readonly call: string;
  readonly reason: string;
}

/** On the list of calls at the end. */
export interface Listed {
  readonly type: 'listed';
  readonly at: number;
  readonly call: string;
  readonly state: string;
  readonly acceptedAt: number;
}

/** A process of the product ended by itself. */
export interface Crashed {
  readonly type: 'crashed';
  readonly at: number;
  readonly part: string;
  readonly detail: string;
}

/** A fault begins or ends. */
export interface FaultMark {
  readonly type: 'fault';
  readonly at: number;
  readonly name: string;
  readonly target: string;
  readonly phase: 'begin' | 'end';
  /** By how much a clock jumped, ms. */
  readonly by?: number;
}

/** Adds events to a file; each call is one write, so what is written survives the death of the writer. */
export function record(file: string, ...events: readonly HistoryEvent[]): void {
  appendFileSync(file, events.map((event) => `${JSON.stringify(event)}\n`).join(''));
}

/** The events of these files in the order of their times. @throws Error for a line that is no event. */
export function readHistory(...files: readonly string[]): HistoryEvent[] {
  const events: HistoryEvent[] = [];
  for (const file of files) {
    if (!existsSync(file)) continue;
    const lines = readFileSync(file, 'utf8').split('\n');
    for (const [index, line] of lines.entries()) {
      if (line === '') continue;
      try {
        events.push(JSON.parse(line) as HistoryEvent);
      } catch (cause) {
        throw new Error(`${file}:${index + 1} is not an event: ${line.slice(0, 200)}`, { cause });
      }
    }
  }
  return events.toSorted((a, b) => a.at - b.at);
}
