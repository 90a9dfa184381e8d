import { callFeedOf } from '../../http/call-feed.ts';
import type { BroadcastEvent } from '../../model/broadcast.ts';
import {
  conclude,
  isDeadLetter,
  type ActionEvent,
  type AttemptRecord,
  type Progress,
  type ResponseEvent,
} from '../../model/call.ts';
import {
  decodeProgress,
  encodeAction,
  encodeBroadcast,
  encodeDeadLetter,
  encodeProgress,
  encodeResponse,
} from '../../model/codec.ts';
import type { FinishArgs, PublishArgs, StoreArgs } from './protocol.ts';

/** Bodies that make the event of a finished call larger than this are left out of it, bytes. */
const largestFeed = 64 * 1024 * 1024;

/** An action event as its columns and bytes. */
export function packAction(action: ActionEvent): StoreArgs {
  const { id, round, caller, service, fingerprint, idempotent, keyed, acceptedAt, deadline, orderKey } = action;
  return {
    id,
    round,
    caller,
    service,
    fingerprint,
    idempotent,
    keyed,
    acceptedAt,
    deadline,
    orderKey: orderKey ?? null,
    body: action.bodyRef?.id ?? null,
    event: own(encodeAction(action)),
  };
}

/** A response event as its columns and bytes. */
export function packResponse(response: ResponseEvent): FinishArgs {
  const { id, round, caller, service, route, keyed } = response.call;
  const { outcome, finishedAt } = response;
  const body = response.answer?.bodyRef?.id ?? null;
  const event = own(encodeResponse(response));
  return { id, round, caller, service, route, keyed, outcome, finishedAt, body, event };
}

/** A broadcast event as its columns and bytes. */
export function packBroadcast(broadcast: BroadcastEvent): PublishArgs {
  const { id, topic, publisher, at, fingerprint } = broadcast;
  return { id, topic, publisher, at, fingerprint, event: own(encodeBroadcast(broadcast)) };
}

/** The letter that the end of a delivery leaves, where it leaves one. */
export function packLetter(action: ActionEvent, response: ResponseEvent): { letter?: Uint8Array } {
  const { outcome, finishedAt, attempts, answer } = response;
  if (!isDeadLetter(outcome)) return {};
  const status = answer === undefined ? {} : { status: answer.status };
  const letter = { action, reason: outcome, diedAt: finishedAt, history: attempts, ...status };
  return { letter: own(encodeDeadLetter(letter)) };
}

/** The broadcast event that a finished call becomes. */
export function packCallFeed(action: ActionEvent, response: ResponseEvent): PublishArgs | undefined {
  const event = callFeedOf(action, response, largestFeed);
  return event === undefined ? undefined : packBroadcast(event);
}

/**
 * The bytes to keep of `progress`; null where there is nothing to remember but the moment.
 * @param feed whoever ends the call also publishes it
 */
export function packProgress(progress: Progress, feed: boolean): Uint8Array | null {
  if (progress.attempts.length === 0 && progress.answer === undefined) return null;
  const { started: _, notBefore: __, ...kept } = progress;
  return own(encodeProgress({ progress: kept, accounted: 0, feed }));
}

/** What is stored about the progress of a round, put together. */
export function unpackProgress(stored: {
  readonly progress?: Uint8Array | undefined;
  readonly started?: string | null | undefined;
}): Progress {
  const kept: Progress = stored.progress === undefined ? { attempts: [] } : decodeProgress(stored.progress).progress;
  if (stored.started === null || stored.started === undefined) return kept;
  return { ...kept, started: JSON.parse(stored.started) as NonNullable<Progress['started']> };
}

/**
 * The end of a call that nobody carries out any more: its deadline has passed, and with it what was started and never
 * heard of again is known to have died. A guarded call of which something may have been sent ends `outcome-unknown`.
 */
export function concludeOverdue(
  action: ActionEvent,
  progress: Progress,
  unaccounted: number,
  now: number,
): ResponseEvent {
  const { started, ...known } = progress;
  if (started !== undefined) {
    const died: AttemptRecord = { ...started, evidence: 'sidecar-died' };
    return conclude(action, { ...known, attempts: [...known.attempts, died] }, 'outcome-unknown', now);
  }
  const made = action.earlier.length + known.attempts.length;
  const died = Array.from({ length: unaccounted }, (_, index): AttemptRecord => {
    return { attempt: made + index + 1, evidence: 'sidecar-died', instance: 'unknown' };
  });
  return conclude(action, { ...known, attempts: [...known.attempts, ...died] }, 'deadline-exceeded', now);
}

/** Small buffers are views of a shared pool, all of which would be copied on the way to the thread. */
function own(bytes: Uint8Array): Uint8Array {
  return bytes.buffer.byteLength === bytes.byteLength ? bytes : new Uint8Array(bytes);
}
