import { nextRound, type ActionEvent } from '../../model/call.ts';
import { decodeAction, encodeAction, type StoredDeadLetter } from '../../model/codec.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Context } from './context.ts';
import { turnOf } from './delivery-line.ts';
import { recordHeaders } from './envelope.ts';
import { MessageRefused } from './publisher.ts';
import { dropEarlierLetter } from './settlement.ts';
import type { StreamSpec } from './streams.ts';

/**
 * Gives the dead letter of a subscription back to it, and takes it off the list. Whoever stored this round first, it is
 * under way then.
 *
 * An earlier round may be there still, because the word that it has ended got lost. It is done with, so this one is stored
 * beside it.
 * @throws {BrokerUnavailable}
 */
export async function redeliver(context: Context, letter: StoredDeadLetter): Promise<void> {
  const { lookup, subjects, streams } = context;
  const action = nextRound(letter.action, letter.history, Date.now());
  const { service, delivery } = action;
  if (delivery === undefined) throw new TypeError(`${action.id} is no delivery`);
  const name = { service, subscription: delivery.subscription };
  const isOrdered = action.orderKey !== undefined;
  const spec = isOrdered ? streams.turns() : streams.redeliveries();
  const subject = isOrdered ? turnOf(subjects, action) : subjects.redelivery(name, action.id);
  for (let expected = 0; !(await isStored(context, { spec, subject }, action, expected));) {
    const there = await lookup.last(spec.name, subject);
    if (there !== undefined && decodeAction(there.data).round >= action.round) break;
    expected = there?.seq ?? 0;
  }
  await dropEarlierLetter(context, action);
}

/** @param expected sequence of what is to be the last one under this subject. False where it is another */
async function isStored(
  { publisher, streams }: Context,
  { spec, subject }: { readonly spec: StreamSpec; readonly subject: string },
  action: ActionEvent,
  expected: number,
): Promise<boolean> {
  try {
    const { kind } = await publisher.publish({
      subject,
      payload: encodeAction(action),
      headers: recordHeaders(expected),
      patience: 'now',
      ensureStream: async () => void (await streams.ensure(spec)),
    });
    return kind === 'stored';
  } catch (error) {
    if (error instanceof MessageRefused) throw new BrokerUnavailable(error.message, { cause: error });
    throw error;
  }
}
