import { nextRound } from '../../model/call.ts';
import { encodeAction, type StoredDeadLetter } from '../../model/codec.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Context } from './context.ts';
import { turnOf } from './delivery-line.ts';
import { recordHeaders } from './envelope.ts';
import { MessageRefused } from './publisher.ts';
import { dropDeadLetter } from './settlement.ts';

/**
 * Gives the dead letter of a subscription back to it, and takes it off the list. Whoever stored this round first, it is
 * under way then.
 * @throws {BrokerUnavailable}
 */
export async function redeliver(context: Context, letter: StoredDeadLetter): Promise<void> {
  const { publisher, subjects, streams } = context;
  const action = nextRound(letter.action, letter.history, Date.now());
  const { service, delivery } = action;
  if (delivery === undefined) throw new TypeError(`${action.id} is no delivery`);
  const name = { service, subscription: delivery.subscription };
  const spec = action.orderKey === undefined ? streams.redeliveries() : streams.turns();
  try {
    await publisher.publish({
      subject: action.orderKey === undefined ? subjects.redelivery(name, action.id) : turnOf(subjects, action),
      payload: encodeAction(action),
      headers: recordHeaders(0),
      patience: 'now',
      ensureStream: async () => void (await streams.ensure(spec)),
    });
  } catch (error) {
    if (error instanceof MessageRefused) throw new BrokerUnavailable(error.message, { cause: error });
    throw error;
  }
  await dropDeadLetter(context, action);
}
