import { setTimeout as pause } from 'node:timers/promises';
import { isDeadLetter, type ActionEvent, type Answer, type ResponseEvent } from '../../model/call.ts';
import {
  decodeDeadLetter,
  decodeResponse,
  encodeDeadLetter,
  encodeResponse,
  EventFormatError,
} from '../../model/codec.ts';
import { readCallId } from '../../model/call-id.ts';
import { responseHeaders } from './envelope.ts';
import type { Context } from './context.ts';
import { replaces } from './precedence.ts';
import { MessageRefused } from './publisher.ts';

/** Between two tries of a step that must not be given up, ms. */
const RETRY = 500;

/**
 * Stores the response event of a call, the dead letter before it where it is one. The first response wins, with one
 * exception: see {@link replaces}.
 *
 * Goes on through broker failures. `ours`: it is stored. `theirs`: another response had won.
 * @throws {BrokerUnavailable} only when the broker is being closed
 */
export async function storeResponse(
  context: Context,
  action: ActionEvent,
  response: ResponseEvent,
): Promise<'ours' | 'theirs'> {
  const { subjects, streams, publisher } = context;
  const { id, caller, round } = response.call;
  const stream = subjects.responseStreamOf(caller, id);
  const subject = subjects.response(caller, id);
  const spec = readCallId(id).keyed ? streams.keyed(caller) : streams.responses(caller);
  const letter = isDeadLetter(response.outcome);
  if (letter) await storeDeadLetter(context, action, response);
  let expected = round === 1 ? 0 : undefined;
  let event = response;
  for (;;) {
    expected ??= (await insist(context, () => context.lookup.last(stream, subject)))?.seq ?? 0;
    let ack;
    try {
      ack = await publisher.publish({
        subject,
        payload: encodeResponse(event),
        headers: responseHeaders(event, expected),
        patience: 'keep',
        ensureStream: async () => void (await streams.ensure(spec)),
      });
    } catch (error) {
      if (!(error instanceof MessageRefused)) throw error;
      // Too large after all: its size was checked before, so the server's limit must have been lowered meanwhile.
      context.report(error);
      event = withoutAnswer(event);
      await storeDeadLetter(context, action, event);
      continue;
    }
    if (ack.kind === 'stored') {
      if (!letter && round > 1) await dropDeadLetter(context, action);
      return 'ours';
    }
    const stored = await insist(context, () => context.lookup.last(stream, subject));
    if (stored === undefined) {
      expected = 0;
      continue;
    }
    const winner = decodeResponse(stored.data);
    if (sameEvent(winner, event)) return 'ours';
    if (replaces(event, winner)) {
      expected = stored.seq;
      if (!letter) await dropDeadLetter(context, action);
      continue;
    }
    if (letter && !isDeadLetter(winner.outcome)) await dropDeadLetter(context, action);
    return 'theirs';
  }
}

function sameEvent(a: ResponseEvent, b: ResponseEvent): boolean {
  return a.call.round === b.call.round && a.outcome === b.outcome && a.finishedAt === b.finishedAt;
}

function withoutAnswer(response: ResponseEvent): ResponseEvent {
  const { answer: _, ...rest } = response;
  return { ...rest, outcome: 'answer-too-large' };
}

/** Stores the dead letter of an outcome that is one. Goes on through broker failures. */
export async function storeDeadLetter(context: Context, action: ActionEvent, response: ResponseEvent): Promise<void> {
  if (!isDeadLetter(response.outcome)) return;
  const answer: Answer | undefined = response.answer;
  await context.publisher.publish({
    subject: context.subjects.dead(action.service, action.caller, action.id),
    payload: encodeDeadLetter({
      action,
      reason: response.outcome,
      diedAt: response.finishedAt,
      ...(answer !== undefined && { status: answer.status }),
      history: response.attempts,
    }),
    patience: 'keep',
    ensureStream: async () => void (await context.streams.ensure(context.streams.dead())),
  });
}

/** Takes the dead letter of a call off the list. Goes on through broker failures. */
export async function dropDeadLetter(
  context: Context,
  call: { service: string; caller: string; id: string },
): Promise<void> {
  const { subjects, lookup } = context;
  await insist(context, () => lookup.purge(subjects.deadStream(), subjects.dead(call.service, call.caller, call.id)));
}

/**
 * Takes the dead letter of a round before that of `action` off the list. One of this round stays: it may have died as soon as it was
 * stored, and so does one that only a newer sidecar can read. Goes on through broker failures.
 */
export async function dropEarlierLetter(context: Context, action: ActionEvent): Promise<void> {
  const { subjects, lookup } = context;
  const { service, caller, id, round } = action;
  const subject = subjects.dead(service, caller, id);
  await insist(context, async () => {
    const stored = await lookup.last(subjects.deadStream(), subject);
    if (stored === undefined || !isOfEarlierRound(stored.data, round)) return;
    await lookup.purge(subjects.deadStream(), subject, stored.seq);
  });
}

function isOfEarlierRound(letter: Uint8Array, round: number): boolean {
  try {
    return decodeDeadLetter(letter).action.round < round;
  } catch (error) {
    if (error instanceof EventFormatError) return false;
    throw error;
  }
}

/** Does `step` until it succeeds; rejects only when the broker is being closed. */
export async function insist<T>(context: Context, step: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await step();
    } catch (error) {
      if (context.closing.aborted) throw error;
      if (context.connection.connected) context.report(error as Error);
      await pause(RETRY, undefined, { signal: context.closing });
    }
  }
}
