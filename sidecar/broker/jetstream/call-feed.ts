import { callFeedOf } from '../../http/call-feed.ts';
import type { BroadcastEvent } from '../../model/broadcast.ts';
import type { ActionEvent, ResponseEvent } from '../../model/call.ts';
import { decodeResponse, encodeBroadcast } from '../../model/codec.ts';
import type { Context } from './context.ts';
import { broadcastHeaders } from './envelope.ts';
import { MessageRefused } from './publisher.ts';
import { insist } from './settlement.ts';

/** What an event needs beside its body, bytes. */
const HEAD_ROOM = 16 * 1024;

/**
 * Publishes a call whose response event is stored, unless that was done before; for whoever settles the action, as
 * `ensureCallback`.
 *
 * Goes on through broker failures.
 * @param response the stored one, where it is at hand
 * @throws {BrokerUnavailable} only when the broker is being closed
 */
export async function ensurePublished(context: Context, action: ActionEvent, response?: ResponseEvent): Promise<void> {
  const { lookup, subjects, connection } = context;
  const { id, caller } = action;
  let told = response;
  if (told === undefined) {
    const stored = await insist(context, () =>
      lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id)),
    );
    if (stored === undefined) return;
    told = decodeResponse(stored.data);
  }
  const event = callFeedOf(action, told, connection.maxPayload - HEAD_ROOM);
  if (event === undefined || (await publishes(context, event))) return;
  const bare = callFeedOf(action, told, 0);
  if (bare !== undefined) await publishes(context, bare);
}

/** An event with this id that is there already is the same one. False where the broker will never take it. */
async function publishes(context: Context, event: BroadcastEvent): Promise<boolean> {
  const { publisher, subjects, streams } = context;
  try {
    await publisher.publish({
      subject: subjects.broadcast(event.publisher, event.topic, event.id),
      payload: encodeBroadcast(event),
      headers: broadcastHeaders(event),
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.broadcasts())),
    });
    return true;
  } catch (error) {
    if (!(error instanceof MessageRefused)) throw error;
    return false;
  }
}
