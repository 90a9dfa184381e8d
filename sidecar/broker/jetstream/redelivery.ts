import { nextRound, type ActionEvent } from '../../model/call.ts';
import { decodeAction, encodeAction, type StoredDeadLetter } from '../../model/codec.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Context } from './context.ts';
import { recordHeaders } from './envelope.ts';
import { MessageRefused } from './publisher.ts';
import { dropDeadLetter } from './settlement.ts';

/**
 * Gives the dead letter of a subscription back to it, and takes it off the list. Whoever stored this round first, it is
 * under way then.
 *
 * An earlier round may be there still, because the word that it has ended got lost. It is done with, so this one is stored
 * beside it.
 * @throws {BrokerUnavailable}
 */
export async function redeliver(context: Context, letter: StoredDeadLetter): Promise<void> {
  const { lookup, subjects } = context;
  const action = nextRound(letter.action, letter.history, Date.now());
  const { service, delivery } = action;
  if (delivery === undefined) throw new TypeError(`${action.id} is no delivery`);
  const subject = subjects.redelivery({ service, subscription: delivery.subscription }, action.id);
  for (let expected = 0; !(await isStored(context, subject, action, expected));) {
    const there = await lookup.last(subjects.redeliveryStream(), subject);
    if (there !== undefined && decodeAction(there.data).round >= action.round) break;
    expected = there?.seq ?? 0;
  }
  await dropDeadLetter(context, action);
}

/** @param expected sequence of what is to be the last one under this subject. False where it is another */
async function isStored(context: Context, subject: string, action: ActionEvent, expected: number): Promise<boolean> {
  const { publisher, streams } = context;
  try {
    const { kind } = await publisher.publish({
      subject,
      payload: encodeAction(action),
      headers: recordHeaders(expected),
      patience: 'now',
      ensureStream: async () => void (await streams.ensure(streams.redeliveries())),
    });
    return kind === 'stored';
  } catch (error) {
    if (error instanceof MessageRefused) throw new BrokerUnavailable(error.message, { cause: error });
    throw error;
  }
}
