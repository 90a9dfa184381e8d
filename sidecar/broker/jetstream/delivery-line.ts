import type { BroadcastEvent, SubscriptionName } from '../../model/broadcast.ts';
import type { ActionEvent } from '../../model/call.ts';
import { decodeAction, decodeBroadcast, encodeAction, EventFormatError } from '../../model/codec.ts';
import type { Context } from './context.ts';
import { copyHeaders, positionOf, recordHeaders, turnHeaders } from './envelope.ts';
import type { Stored } from './lookup.ts';
import { roundOf, type Line } from './order-queue.ts';
import { orderToken, readOrdered, type Subjects } from './subjects.ts';

/*
 * Deliveries of a subscription with an order key (ADR 0035). One event after another is taken in, by whichever instance, so that they
 * stand in their line in the order in which they were stored. The head of each key is admitted: copied to the queue of
 * redeliveries, from which it is delivered like a replayed dead letter. When it is over it leaves, and the next is admitted.
 *
 * What was delivered last of each key is noted before it leaves, because a killed server may bring back what was deleted a moment
 * before, or give out once more what was taken in.
 */

/** The deliveries of one subscription. */
export function deliveryLine(context: Context, name: SubscriptionName): Line {
  const { subjects } = context;
  return {
    service: name.service,
    stream: subjects.turnStream(),
    all: subjects.turns(name),
    announced: subjects.turnsAnnounced(name),
    queue: (order) => subjects.turns(name, order),
    place: (order, publisher, id) => subjects.turn(name, order, publisher, id),
    admit: (head) => admit(context, name, head),
    leave: (action) => leave(context, name, action),
  };
}

/** Where a delivery with an order key waits. */
export function turnOf(subjects: Subjects, { id, round, caller, service, orderKey, delivery }: ActionEvent): string {
  if (orderKey === undefined || delivery === undefined) throw new TypeError(`${id} is no delivery in order`);
  const name = { service, subscription: delivery.subscription };
  return subjects.turn(name, orderToken(orderKey), caller, `${id}:${round}`);
}

/**
 * Puts the delivery of an event where it is taken from: in its line, or in the queue at once where it has no order key. Goes on
 * through broker failures.
 * @param position the sequence of the event
 * @throws {MessageRefused} it is too large
 */
export async function takeIn(
  { publisher, subjects, streams }: Context,
  name: SubscriptionName,
  action: ActionEvent,
  position: number,
): Promise<void> {
  const isOrdered = action.orderKey !== undefined;
  const spec = isOrdered ? streams.turns() : streams.redeliveries();
  await publisher.publish({
    subject: isOrdered ? turnOf(subjects, action) : subjects.redelivery(name, action.id),
    payload: encodeAction(action),
    headers: isOrdered ? turnHeaders(position) : recordHeaders(0),
    patience: 'keep',
    ensureStream: async () => void (await streams.ensure(spec)),
  });
}

/** Whether a delivery with an order key, which was admitted, is still in its line. @throws {BrokerUnavailable} */
export async function isInLine({ lookup, subjects }: Context, action: ActionEvent): Promise<boolean> {
  return (await lookup.last(subjects.turnStream(), turnOf(subjects, action))) !== undefined;
}

async function admit(context: Context, name: SubscriptionName, head: Stored): Promise<'admitted' | 'over'> {
  const { lookup, subjects, streams, publisher } = context;
  let id: string;
  let round: number;
  try {
    ({ id, round } = decodeAction(head.data));
  } catch (error) {
    // It keeps its place until a newer sidecar is there.
    if (error instanceof EventFormatError) return 'admitted';
    throw error;
  }
  const subject = subjects.redelivery(name, id);
  // In this order: a copy that is gone was acknowledged after the note was made.
  const copy = await lookup.last(subjects.redeliveryStream(), subject);
  // An earlier round that is still there is over, as only its dead letter leads to another: the word of that got lost.
  if (copy !== undefined && (roundOf(copy) ?? round) >= round) return 'admitted';
  if (await isOver(context, name, head)) return 'over';
  await publisher.publish({
    subject,
    payload: head.data,
    headers: copyHeaders(head.headers, copy?.seq ?? 0),
    patience: 'now',
    ensureStream: async () => void (await streams.ensure(streams.redeliveries())),
  });
  return 'admitted';
}

/** The event of an order key that was delivered last. */
interface LastTurn {
  readonly position: number;
  readonly event: string;
}

async function isOver({ lookup, subjects }: Context, name: SubscriptionName, head: Stored): Promise<boolean> {
  const position = positionOf(head.headers);
  // A replayed dead letter.
  if (position === undefined) return false;
  const { order } = readOrdered(head.subject);
  const noted = await lookup.last(subjects.deliveryStream(), subjects.lastTurn(name, order));
  if (noted === undefined) return false;
  const last = JSON.parse(Buffer.from(noted.data).toString()) as LastTurn;
  if (position > last.position) return false;
  // A server that was killed can lose the end of a stream and give its numbers to other events.
  const stored = await lookup.at(subjects.broadcastStream(), last.position);
  return stored !== undefined && eventIn(stored)?.id === last.event;
}

function eventIn({ data }: Stored): BroadcastEvent | undefined {
  try {
    return decodeBroadcast(data);
  } catch (error) {
    if (error instanceof EventFormatError) return undefined;
    throw error;
  }
}

/** Takes a delivery that is over out of its line, and tells its sequence where it was there. @throws {BrokerUnavailable} */
async function leave(context: Context, name: SubscriptionName, action: ActionEvent): Promise<number | undefined> {
  const { lookup, subjects, publisher, streams } = context;
  const stored = await lookup.last(subjects.turnStream(), turnOf(subjects, action));
  if (stored === undefined) return undefined;
  const position = positionOf(stored.headers);
  if (position !== undefined && action.delivery !== undefined) {
    const last: LastTurn = { position, event: action.delivery.event };
    await publisher.publish({
      subject: subjects.lastTurn(name, readOrdered(stored.subject).order),
      payload: Buffer.from(JSON.stringify(last)),
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.deliveries())),
    });
  }
  await lookup.remove(subjects.turnStream(), stored.seq);
  return stored.seq;
}
