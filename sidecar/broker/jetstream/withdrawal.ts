import { JetStreamApiCodes } from '@nats-io/jetstream';
import { conclude, noProgress, type ActionEvent } from '../../model/call.ts';
import { decodeProgress, encodeProgress, type StoredProgress } from '../../model/codec.ts';
import { BrokerUnavailable } from '../port.ts';
import { ensureCallback } from './callback.ts';
import { ensurePublished } from './call-feed.ts';
import { CONSUMER } from './consumer.ts';
import { ask } from './control.ts';
import type { Context } from './context.ts';
import { recordHeaders } from './envelope.ts';
import { advance, callLine, findAction, leave, type Whereabouts } from './order-queue.ts';
import { storeResponse } from './settlement.ts';
import { isApiError } from './streams.ts';
import { orderToken } from './subjects.ts';

export type Withdrawn = 'withdrawn' | 'started' | 'finished' | 'unknown';

/**
 * Takes open calls off the log with a final outcome of Holdline's own.
 *
 * The race with a sidecar that is about to start the call is closed in three steps: every live sidecar of the callee is asked
 * first, and from then on looks up the response before it starts the call; then the final response is stored, which
 * succeeds only if no other was; then the action is deleted. A sidecar that takes the action after the first step finds the
 * response, one that started before it says so. One that cannot say anything, because it is frozen or cut off, is kept from
 * starting a call that must not be sent any more by a new record of its attempts, which its own start would have to follow.
 *
 * @param advances false where the next call of an order key may be another caller's, which one caller has no right to admit; a
 *   sidecar of the callee does it within a second
 */
export async function withdraw(
  context: Context,
  calls: readonly Whereabouts[],
  outcome: 'cancelled' | 'deadline-exceeded',
  advances = true,
): Promise<Map<string, Withdrawn>> {
  const results = new Map<string, Withdrawn>();
  for (const [callee, group] of Map.groupBy(calls, (call) => call.callee)) {
    const replies = await ask(context.connection, context.subjects, callee, {
      op: 'withdraw',
      ids: group.map((call) => call.id),
    });
    const sending = new Set(replies.flatMap((reply) => reply.sending));
    const held = new Set(replies.flatMap((reply) => reply.held));
    for (const call of group) {
      const result = sending.has(call.id)
        ? 'started'
        : await withdrawOne(context, call, outcome, held.has(call.id), advances);
      results.set(call.id, result);
    }
  }
  return results;
}

async function withdrawOne(
  context: Context,
  call: Whereabouts,
  outcome: 'cancelled' | 'deadline-exceeded',
  held: boolean,
  advances: boolean,
): Promise<Withdrawn> {
  const { lookup, subjects } = context;
  const found = await findAction(context, call);
  if (found === undefined) return 'unknown';
  const { action, seq } = found;
  const { callee } = call;
  const record = await readProgress(context, action);
  const stored = record?.stored;
  const progress = stored?.progress;
  if (progress?.started !== undefined) return 'started';
  if (outcome === 'cancelled') {
    if ((progress?.attempts.length ?? 0) > 0 || action.earlier.length > 0) return 'started';
    // Starts of idempotent calls are not recorded. One that was delivered, is in nobody's hands, and of which nobody said
    // that nothing was sent, was in the hands of a sidecar that died.
    const mayHide = action.idempotent && progress === undefined && !held && seq !== undefined;
    if (mayHide && (await wasDelivered(context, callee, seq))) return 'started';
    // Somebody was faster: it is looked at once more, and most likely it was started.
    if (!action.idempotent && !held && !(await fence(context, action, record))) {
      return withdrawOne(context, call, outcome, held, advances);
    }
  }
  const response = conclude(action, progress ?? noProgress, outcome, Date.now());
  const winner = await storeResponse(context, action, response);
  const told = winner === 'ours' ? response : undefined;
  if (action.callback !== undefined) await ensureCallback(context, action, told);
  if (stored?.feed === true) await ensurePublished(context, action, told);
  await leave(context, action);
  if (seq !== undefined) {
    // Before the action is gone: who dies in between leaves the rest to its next delivery.
    if (advances && action.orderKey !== undefined)
      await advance(context, callLine(context, callee), orderToken(action.orderKey));
    await lookup.remove(subjects.actionStream(callee), seq);
  }
  if (action.bodyRef !== undefined) await context.bodies.forget(action.bodyRef);
  return winner === 'ours' ? 'withdrawn' : 'finished';
}

/** What is on record of a call's attempts, and where. */
interface ProgressRecord {
  readonly stored: StoredProgress;
  readonly seq: number;
}

/** Stores the record once more as it is: whoever holds the call knows an older one, and cannot start it. False: it has changed. */
async function fence(context: Context, action: ActionEvent, record: ProgressRecord | undefined): Promise<boolean> {
  const { publisher, subjects, streams } = context;
  const { service, id, round } = action;
  const ack = await publisher.publish({
    subject: subjects.progress(service, id, round),
    payload: encodeProgress(record?.stored ?? { progress: noProgress, accounted: 0 }),
    headers: recordHeaders(record?.seq ?? 0),
    patience: 'keep',
    ensureStream: async () => void (await streams.ensure(streams.attempts(service))),
  });
  return ack.kind === 'stored';
}

async function readProgress(context: Context, action: ActionEvent): Promise<ProgressRecord | undefined> {
  const { lookup, subjects } = context;
  const record = await lookup.last(
    subjects.attemptStream(action.service),
    subjects.progress(action.service, action.id, action.round),
  );
  return record === undefined ? undefined : { stored: decodeProgress(record.data), seq: record.seq };
}

async function wasDelivered(context: Context, callee: string, seq: number): Promise<boolean> {
  const manager = await context.streams.manager();
  try {
    const { delivered } = await manager.consumers.info(context.subjects.actionStream(callee), CONSUMER);
    return seq <= delivered.stream_seq;
  } catch (error) {
    // No sidecar of this callee has ever run.
    if (isApiError(error, JetStreamApiCodes.ConsumerNotFound)) return false;
    throw new BrokerUnavailable(`consumer of ${callee}: ${(error as Error).message}`, { cause: error });
  }
}
