import { JetStreamApiCodes, type ConsumerConfig, type JetStreamManager } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { SubscriptionStart } from '../../config/config.ts';
import { isApiError } from './streams.ts';

/** The one consumer of an action stream, shared by all instances of the callee. */
export const CONSUMER = 'inbound';
/** How long the server waits for a sign of life from a delivery, ms. Short, so that a killed sidecar's calls go on soon. */
export const ACK_WAIT = 5_000;

export const consumerConfig: Partial<ConsumerConfig> = {
  durable_name: CONSUMER,
  ack_policy: 'explicit',
  deliver_policy: 'all',
  ack_wait: nanos(ACK_WAIT),
  // The history of a call decides how often it is tried, never the server's count.
  max_deliver: -1,
  // Calls that wait for their next attempt count, too.
  max_ack_pending: 20_000,
  max_waiting: 512,
};

/** The consumer of a subscription, one in each of its two streams, shared by all instances of the service. */
export const subscriptionConfig: Partial<ConsumerConfig> = {
  ack_policy: 'explicit',
  ack_wait: nanos(ACK_WAIT),
  max_deliver: -1,
  max_ack_pending: 20_000,
  max_waiting: 512,
};

/** Takes events in, one after another over all instances, so that they stand in line in their order. */
export const orderedSubscriptionConfig: Partial<ConsumerConfig> = { ...subscriptionConfig, max_ack_pending: 1 };

/** Where a subscription starts that is made now. */
export function startOf(from: SubscriptionStart): Partial<ConsumerConfig> {
  switch (from.kind) {
    case 'new':
      return { deliver_policy: 'new' };
    case 'first':
      return { deliver_policy: 'all' };
    case 'ago':
      return { deliver_policy: 'by_start_time', opt_start_time: new Date(Date.now() - from.ago).toISOString() };
    default:
      return from satisfies never;
  }
}

/**
 * Makes the consumer of an action stream, or brings it to this version's settings. One that is as it should be is left alone, so
 * that a sidecar can work without the right to make consumers.
 */
export async function ensureConsumer({ consumers }: JetStreamManager, stream: string): Promise<void> {
  try {
    const { config } = await consumers.info(stream, CONSUMER);
    const settings = Object.entries(consumerConfig) as [keyof ConsumerConfig, unknown][];
    if (settings.every(([key, value]) => config[key] === value)) return;
  } catch (error) {
    if (!isApiError(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
  }
  await consumers.add(stream, consumerConfig);
}
