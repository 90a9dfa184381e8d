import { callbackOf } from '../../http/callback.ts';
import type { ActionEvent, ResponseEvent } from '../../model/call.ts';
import { decodeResponse } from '../../model/codec.ts';
import { storeAction } from './action-log.ts';
import type { Context } from './context.ts';
import { MessageRefused } from './publisher.ts';
import { insist } from './settlement.ts';

/**
 * Stores the callback of a call whose response event is stored, unless that was done before. Whoever settles an action calls this
 * first, also where another has stored the response: that one may have died in between.
 *
 * Goes on through broker failures.
 * @param response the stored one, where it is at hand
 * @throws {BrokerUnavailable} only when the broker is being closed
 */
export async function ensureCallback(context: Context, action: ActionEvent, response?: ResponseEvent): Promise<void> {
  const { lookup, subjects } = context;
  const { id, caller } = action;
  let told = response;
  if (told === undefined) {
    const stored = await insist(context, () =>
      lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id)),
    );
    if (stored === undefined) return;
    told = decodeResponse(stored.data);
  }
  const callback = callbackOf(action, told);
  if (callback === undefined) return;
  // The place of a callback that was carried out already is free again.
  const done = await insist(context, () =>
    lookup.last(subjects.keyedStream(callback.caller), subjects.response(callback.caller, callback.id)),
  );
  if (done !== undefined || (await stores(context, callback))) return;
  // The answer fitted into its event and does not fit into this one, whose head is a little longer.
  const { answer: _, ...rest } = told;
  const smaller = callbackOf(action, { ...rest, outcome: 'answer-too-large' });
  if (smaller !== undefined) await stores(context, smaller);
}

/** False where the broker will never take it. */
function stores(context: Context, callback: ActionEvent): Promise<boolean> {
  return insist(context, async () => {
    try {
      await storeAction(context, callback);
      return true;
    } catch (error) {
      if ((error as Error).cause instanceof MessageRefused) return false;
      throw error;
    }
  });
}
