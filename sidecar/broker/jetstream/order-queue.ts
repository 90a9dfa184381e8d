import type { ActionEvent, ResponseEvent } from '../../model/call.ts';
import { decodeAction, decodeResponse, EventFormatError } from '../../model/codec.ts';
import { ensureCallback } from './callback.ts';
import type { Context } from './context.ts';
import { copyHeaders } from './envelope.ts';
import type { Stored } from './lookup.ts';
import type { OrderIndex } from './order-index.ts';
import { endsRound } from './precedence.ts';
import { readOrdered } from './subjects.ts';

/*
 * Calls with an order key (ADR 0007). They are stored in a stream of their own, in which nothing is consumed, and stay there until
 * they are finished. The oldest of each key, its head, is *admitted*: copied to the action stream, where it is an action like any
 * other. When its round has ended it leaves the queue, and the next one is admitted.
 *
 * Every step may be done by anyone, at any time, and twice: a copy is stored only where none is, under the subject of its call,
 * and it is marked as sent before, so that it is not started without a look at its response.
 */

/** Where calls, or the deliveries of a subscription, wait for their turn, and what becomes of them then. */
export interface Line {
  /** The callee, or the subscriber. */
  readonly service: string;
  readonly stream: string;
  /** All that wait; a pattern. */
  readonly all: string;
  /** Where they are announced once they are stored; a pattern. */
  readonly announced: string;
  /** All with one order key; a pattern. */
  queue(order: string): string;
  /** One of them, as {@link readOrdered} has read it. */
  place(order: string, caller: string, id: string): string;
  /** `over`: the head has ended, and is still in its queue. @throws {BrokerUnavailable} */
  admit(head: Stored): Promise<'admitted' | 'over'>;
  /** As {@link leave}. @throws {BrokerUnavailable} */
  leave(action: ActionEvent): Promise<number | undefined>;
}

/** The calls to one service. */
export function callLine(context: Context, callee: string): Line {
  const { subjects } = context;
  return {
    service: callee,
    stream: subjects.orderedStream(callee),
    all: '>',
    announced: subjects.queued(callee),
    queue: (order) => subjects.queue(callee, order),
    place: (order, caller, id) => subjects.orderedAt(callee, order, caller, id),
    admit: (head) => admit(context, callee, head),
    leave: (action) => leave(context, action),
  };
}

/** What is known of where the head of a key is: the more, the less the server has to read. */
interface Hints {
  readonly index?: OrderIndex;
  /** The sequence of a call that was the head. */
  readonly after?: number;
}

/** Admits the oldest call of a key, unless it is. @throws {BrokerUnavailable} */
export async function advance(context: Context, line: Line, order: string, hints: Hints = {}): Promise<void> {
  for (;;) {
    const head = await headOf(context, line, order, hints);
    if (head === undefined || (await line.admit(head)) === 'admitted') return;
    await context.lookup.remove(line.stream, head.seq);
  }
}

/** The oldest call of a key. */
async function headOf(
  { lookup }: Context,
  line: Line,
  order: string,
  { index, after = 0 }: Hints,
): Promise<Stored | undefined> {
  for (let first = index?.first(order); first !== undefined; first = index?.first(order)) {
    const { seq } = first;
    const stored = await lookup.next(line.stream, seq, line.place(order, first.caller, first.id));
    if (stored?.seq === seq) return stored;
    index!.drop(order, seq);
  }
  // Between the look at the index and the question nothing else may run.
  return await lookup.next(line.stream, Math.max(index?.next ?? 1, after + 1), line.queue(order));
}

/** `over`: the head belongs to a round that has ended, and only keeps the place of the next one. */
async function admit(context: Context, callee: string, head: Stored): Promise<'admitted' | 'over'> {
  const { lookup, subjects, streams, publisher } = context;
  const { caller, id } = readOrdered(head.subject);
  const stream = subjects.actionStream(callee);
  const subject = subjects.action(callee, caller, id);
  for (;;) {
    const [copy, answer] = await Promise.all([
      lookup.last(stream, subject),
      lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id)),
    ]);
    const round = roundOf(head);
    const response = answer === undefined ? undefined : decodeResponse(answer.data);
    if (copy === undefined) {
      // A killed server may bring back what was deleted just before, so that it stands before the others once more.
      if (round !== undefined && response !== undefined && endsRound(response, round)) {
        await settleCallback(context, head, response);
        return 'over';
      }
      const ack = await publisher.publish({
        subject,
        payload: head.data,
        headers: copyHeaders(head.headers, 0),
        patience: 'now',
        ensureStream: async () => void (await streams.ensure(streams.actions(callee))),
      });
      if (ack.kind === 'stored') return 'admitted';
      continue;
    }
    const there = roundOf(copy);
    // What cannot be read is left to a newer sidecar, and keeps its place until then.
    if (there === round || round === undefined || there === undefined) return 'admitted';
    if (there > round) return 'over';
    // An earlier round that has not ended: somebody looks again when it has.
    if (response === undefined || !endsRound(response, there)) return 'admitted';
    await settleCallback(context, copy, response);
    await lookup.remove(stream, copy.seq);
  }
}

/** Whoever settles an action in the place of another does all that he had to do. */
async function settleCallback(context: Context, stored: Stored, response: ResponseEvent): Promise<void> {
  const action = decodeAction(stored.data);
  if (action.callback !== undefined) await ensureCallback(context, action, response);
}

/** The round of a stored action; undefined where it is of a format that only a newer sidecar reads. */
export function roundOf(stored: Stored): number | undefined {
  try {
    return decodeAction(stored.data).round;
  } catch (error) {
    if (error instanceof EventFormatError) return undefined;
    throw error;
  }
}

/** Takes a call whose round has ended out of its queue, and tells its sequence where it was there. @throws {BrokerUnavailable} */
export async function leave({ lookup, subjects }: Context, action: ActionEvent): Promise<number | undefined> {
  const { service, caller, id, round, orderKey } = action;
  if (orderKey === undefined) return undefined;
  const stream = subjects.orderedStream(service);
  const stored = await lookup.last(stream, subjects.ordered(service, orderKey, caller, id));
  // The next round may be there already.
  if (stored === undefined || decodeAction(stored.data).round > round) return undefined;
  await lookup.remove(stream, stored.seq);
  return stored.seq;
}

export interface Whereabouts {
  readonly callee: string;
  readonly caller: string;
  readonly id: string;
  /** Token of the order key, where it is known that the call has one. */
  readonly order?: string;
}

/** An open call: `seq` of its action, where it may be taken; without it the call waits for its turn. */
export interface OpenAction {
  readonly action: ActionEvent;
  readonly seq?: number;
}

/** The action of an open call, wherever it is. @throws {BrokerUnavailable} */
export async function findAction(
  context: Pick<Context, 'lookup' | 'subjects'>,
  where: Whereabouts,
): Promise<OpenAction | undefined> {
  const { lookup, subjects } = context;
  const { callee, caller, id } = where;
  // At once, because most callees have no queues, and each call with a key has to know.
  const [stored, waiting] = await Promise.all([
    lookup.last(subjects.actionStream(callee), subjects.action(callee, caller, id)),
    findWaiting(context, where),
  ]);
  if (stored === undefined) return waiting === undefined ? undefined : { action: waiting };
  const action = decodeAction(stored.data);
  // The copy of a round that has ended may still be there when the next one waits.
  if (waiting !== undefined && waiting.round > action.round) return { action: waiting };
  return { action, seq: stored.seq };
}

/** The action of a call in its queue, whether or not it is admitted. @throws {BrokerUnavailable} */
export async function findWaiting(
  { lookup, subjects }: Pick<Context, 'lookup' | 'subjects'>,
  { callee, caller, id, order }: Whereabouts,
): Promise<ActionEvent | undefined> {
  const stream = subjects.orderedStream(callee);
  const stored =
    order === undefined
      ? await lookup.lastLike(stream, subjects.orderedAnywhere(callee, caller, id))
      : await lookup.last(stream, subjects.orderedAt(callee, order, caller, id));
  return stored === undefined ? undefined : decodeAction(stored.data);
}
