import { JetStreamApiCodes, type ConsumerConfig } from '@nats-io/jetstream';
import type { SubscriptionStart } from '../../config/config.ts';
import { orderedSubscriptionConfig, startOf, subscriptionConfig } from './consumer.ts';
import type { Context } from './context.ts';
import { isApiError, type StreamSpec } from './streams.ts';

const everything: Partial<ConsumerConfig> = { deliver_policy: 'all' };

/** The durable consumer of a subscription in one of the two streams that it takes from. */
export interface SubscriptionConsumer {
  readonly name: string;
  readonly topic: string;
  /** The subjects that the server can tell to be of the topic. */
  readonly filter: string;
  readonly from: SubscriptionStart;
  /** Deliveries are made in order. */
  readonly isOrdered: boolean;
}

/**
 * Makes the consumer of a subscription, or brings it to what is wanted now. Its start is decided once, when it is made; a later
 * change of the topic is a change of the filter.
 * @param report gets what a killed server has lost of it
 * @throws {BrokerUnavailable} and what the server answers
 */
export async function ensureSubscriptionConsumer(
  { streams }: Context,
  spec: StreamSpec,
  { name, topic, filter, from, isOrdered }: SubscriptionConsumer,
  report: (problem: Error) => void,
): Promise<void> {
  await streams.ensure(spec);
  const manager = await streams.manager();
  const { consumers } = manager;
  const isQueue = spec.retention === 'workqueue';
  const settings = isOrdered && !isQueue ? orderedSubscriptionConfig : subscriptionConfig;
  const wanted = { description: topic, filter_subject: filter, max_ack_pending: settings.max_ack_pending! };
  const add = (start: Partial<ConsumerConfig>) =>
    consumers.add(spec.name, { ...settings, ...wanted, durable_name: name, ...start });
  let known;
  try {
    known = await consumers.info(spec.name, name);
  } catch (error) {
    if (!isApiError(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
  }
  if (known === undefined) {
    await add(isQueue ? everything : startOf(from));
    return;
  }
  // In this order: what is stored between the two questions must not make a consumer look as if it was ahead.
  const { state } = await manager.streams.info(spec.name);
  if (known.delivered.stream_seq > state.last_seq) {
    // A server that was killed can lose the end of a stream and not what its consumers knew of it. Such a consumer lets
    // everything pass that gets one of the lost numbers again, what is published now included.
    report(new Error(`the broker had lost the end of ${spec.name}; ${name} is made anew`));
    await consumers.delete(spec.name, name);
    const next = Math.min(known.ack_floor.stream_seq, state.last_seq) + 1;
    await add(isQueue ? everything : { deliver_policy: 'by_start_sequence', opt_start_seq: next });
    return;
  }
  const { config } = known;
  const isAsWanted = (Object.keys(wanted) as (keyof typeof wanted)[]).every((key) => config[key] === wanted[key]);
  if (!isAsWanted) await consumers.update(spec.name, name, wanted);
}
