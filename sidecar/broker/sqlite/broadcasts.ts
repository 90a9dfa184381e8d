import {
  deliveryOf,
  redirected,
  type BroadcastEvent,
  type DeliveryTarget,
  type SubscriptionName,
} from '../../model/broadcast.ts';
import { CallIds, newInstanceTag } from '../../model/call-id.ts';
import type { ActionEvent } from '../../model/call.ts';
import { decodeQueued } from '../../model/codec.ts';
import type { Published, PublisherLog } from '../port.ts';
import { packBroadcast } from './packing.ts';
import type { DatabaseThread } from './thread.ts';

/** The broadcast events that one service publishes, on the embedded log. */
export class SqlitePublisherLog implements PublisherLog {
  readonly #thread: DatabaseThread;
  readonly #service: string;
  readonly #ids = new CallIds(newInstanceTag());

  constructor(thread: DatabaseThread, service: string) {
    this.#thread = thread;
    this.#service = service;
  }

  newEventId(): string {
    return this.#ids.next(this.#service);
  }

  async publish(event: BroadcastEvent): Promise<Published> {
    return await this.#thread.ask('publish', packBroadcast(event));
  }
}

/** Makes deliveries of what the queue of a subscription holds: events, and deliveries that are made again. */
export function decodeDelivery(
  name: SubscriptionName,
  target: () => DeliveryTarget,
): (bytes: Uint8Array) => ActionEvent {
  return (bytes) => {
    const queued = decodeQueued(bytes);
    return 'event' in queued ? deliveryOf(queued.event, name, target()) : redirected(queued.action, target());
  };
}
