import { setTimeout as pause } from 'node:timers/promises';
import type { ActionEvent } from '../../model/call.ts';
import { decodeAction, decodeResponse, encodeAction } from '../../model/codec.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Context } from './context.ts';
import { actionHeaders } from './envelope.ts';
import { MessageRefused, type Acknowledgement } from './publisher.ts';
import { endsRound } from './precedence.ts';
import { dropEarlierLetter } from './settlement.ts';
import type { StreamSpec } from './streams.ts';

/** How long the next round waits for the one before to end, ms. */
const PATIENCE = 10_000;
const LOOK_AGAIN = 100;

/**
 * Stores an action event unless this round, or a later one, is known. The dead letter of the round before is removed when
 * this one is stored.
 *
 * There is one action per call. That of the round before may still be there: its response is stored first and it is settled
 * last, and somebody may have died in between. Then it is settled here.
 * @throws {BrokerUnavailable} nothing was stored and nothing will be
 */
export async function storeAction(context: Context, action: ActionEvent): Promise<'stored' | 'known'> {
  const end = performance.now() + PATIENCE;
  for (;;) {
    const ack = await publish(context, action);
    if (ack.kind === 'stored' && !ack.duplicate) {
      if (action.round > 1) await dropEarlierLetter(context, action);
      return 'stored';
    }
    if (ack.kind === 'stored' || action.round === 1) return 'known';
    const place = await roundBefore(context, action);
    if (place === 'known') return 'known';
    if (place === 'free') continue;
    if (performance.now() > end) {
      throw new BrokerUnavailable(`round ${action.round - 1} of call ${action.id} has not ended yet`);
    }
    await pause(LOOK_AGAIN, undefined, { signal: context.closing });
  }
}

async function publish(context: Context, action: ActionEvent): Promise<Acknowledgement> {
  const { publisher, subjects, streams } = context;
  try {
    return await publisher.publish({
      subject: subjectOf(context, action),
      payload: encodeAction(action),
      headers: actionHeaders(action, subjects),
      patience: 'now',
      ensureStream: async () => void (await streams.ensure(specOf(context, action))),
      resentHeaders: () => actionHeaders(action, subjects, true),
    });
  } catch (error) {
    if (error instanceof MessageRefused) throw new BrokerUnavailable(error.message, { cause: error });
    throw error;
  }
}

/** Where an action is stored: one with an order key waits for its turn elsewhere (see order-queue.ts). */
function subjectOf({ subjects }: Context, { service, caller, id, orderKey }: ActionEvent): string {
  return orderKey === undefined
    ? subjects.action(service, caller, id)
    : subjects.ordered(service, orderKey, caller, id);
}

function specOf({ streams }: Context, { service, orderKey }: ActionEvent): StreamSpec {
  return orderKey === undefined ? streams.actions(service) : streams.ordered(service);
}

/** Whether the place of the action is free for this round: not before the round before has its response. */
async function roundBefore(context: Context, action: ActionEvent): Promise<'free' | 'taken' | 'known'> {
  const { lookup, subjects } = context;
  const { caller, id, round } = action;
  const { name: stream } = specOf(context, action);
  // The action first: what it is answered with must not be older than what is found here.
  const stored = await lookup.last(stream, subjectOf(context, action));
  const answer = await lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id));
  const response = answer === undefined ? undefined : decodeResponse(answer.data);
  if (response !== undefined && endsRound(response, round)) return 'known';
  if (stored === undefined) return 'free';
  const open = decodeAction(stored.data).round;
  if (open >= round) return 'known';
  if (response === undefined || !endsRound(response, open)) return 'taken';
  await lookup.remove(stream, stored.seq);
  return 'free';
}
