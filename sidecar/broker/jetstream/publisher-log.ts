import type { BroadcastEvent } from '../../model/broadcast.ts';
import type { CallIds } from '../../model/call-id.ts';
import { decodeBroadcast, encodeBroadcast } from '../../model/codec.ts';
import { BrokerUnavailable, type Published, type PublisherLog } from '../port.ts';
import type { Context } from './context.ts';
import { broadcastHeaders } from './envelope.ts';
import { MessageRefused, type Acknowledgement } from './publisher.ts';
import { insist } from './settlement.ts';

/** The broadcast events that one service publishes. */
export class JetStreamPublisherLog implements PublisherLog {
  readonly #context: Context;
  readonly #service: string;
  readonly #ids: CallIds;

  constructor(context: Context, service: string, ids: CallIds) {
    this.#context = context;
    this.#service = service;
    this.#ids = ids;
  }

  newEventId(): string {
    return this.#ids.next(this.#service);
  }

  async publish(event: BroadcastEvent): Promise<Published> {
    const { lookup, subjects } = this.#context;
    for (;;) {
      const ack = await this.#publish(event);
      if (ack.kind === 'stored' && !ack.duplicate) return { kind: 'stored' };
      const subject = subjects.broadcast(event.publisher, event.topic, event.id);
      const stored = await insist(this.#context, () => lookup.last(subjects.broadcastStream(), subject));
      const fingerprint = stored === undefined ? undefined : decodeBroadcast(stored.data).fingerprint;
      // It may have been an earlier send of this very event that was first.
      if (ack.resent && (fingerprint ?? event.fingerprint) === event.fingerprint) return { kind: 'stored' };
      if (fingerprint !== undefined) return { kind: 'known', fingerprint };
      // Its age was up in between. What the server still remembers of a message id would make it a duplicate for good.
      if (ack.kind === 'stored') return { kind: 'known', fingerprint: event.fingerprint };
    }
  }

  async #publish(event: BroadcastEvent): Promise<Acknowledgement> {
    const { publisher, subjects, streams } = this.#context;
    try {
      return await publisher.publish({
        subject: subjects.broadcast(event.publisher, event.topic, event.id),
        payload: encodeBroadcast(event),
        headers: broadcastHeaders(event),
        patience: 'now',
        ensureStream: async () => void (await streams.ensure(streams.broadcasts())),
      });
    } catch (error) {
      if (error instanceof MessageRefused) throw new BrokerUnavailable(error.message, { cause: error });
      throw error;
    }
  }
}
