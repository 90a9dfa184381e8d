import { isDeadLetter, type ActionEvent, type Progress, type ResponseEvent } from '../../model/call.ts';
import { decodeProgress, encodeProgress, type StoredProgress } from '../../model/codec.ts';
import type { SubscriptionName } from '../../model/broadcast.ts';
import type { Lease } from '../port.ts';
import type { Context } from './context.ts';
import { recordHeaders } from './envelope.ts';
import { ackBody, LOOK_AGAIN, nakBody } from './lease.ts';
import { dropDeadLetter, insist, storeDeadLetter } from './settlement.ts';

/** What a lease needs of the subscription that it belongs to. */
export interface DeliveryOwner {
  /** `settled`: it must not be delivered again. */
  ended(lease: DeliveryLease, settled: boolean): void;
  acknowledge(reply: string, body: string): void;
  /** A delivery with an order key is over: the next one may go. Before it is acknowledged. */
  leaveOrder(action: ActionEvent): Promise<void>;
}

export interface Delivered {
  readonly name: SubscriptionName;
  readonly action: ActionEvent;
  readonly reply: string;
  /** As the server counts them. */
  readonly deliveries: number;
  readonly stored?: StoredProgress;
  /** Sequence of the stored record, 0 while there is none. */
  readonly record: number;
}

/**
 * One delivery of an event to a subscription. Its attempts are always repeatable, so no start is recorded: a delivery of which
 * nobody recorded the end counts as an attempt.
 */
export class DeliveryLease implements Lease {
  readonly action: ActionEvent;
  readonly progress: Progress;
  readonly unaccounted: number;
  readonly #context: Context;
  readonly #owner: DeliveryOwner;
  readonly #name: SubscriptionName;
  readonly #lost = new AbortController();
  #deliveries: number;
  #record: number;
  #reply: string;
  #ended = false;

  constructor(context: Context, owner: DeliveryOwner, delivered: Delivered) {
    this.#context = context;
    this.#owner = owner;
    this.#name = delivered.name;
    this.action = delivered.action;
    this.#reply = delivered.reply;
    this.#deliveries = delivered.deliveries;
    this.#record = delivered.record;
    this.progress = delivered.stored?.progress ?? { attempts: [] };
    this.unaccounted = Math.max(0, delivered.deliveries - 1 - (delivered.stored?.accounted ?? 0));
  }

  get reply(): string {
    return this.#reply;
  }

  /** The server has delivered it here once more. That is no attempt. */
  redelivered(reply: string, deliveries: number): void {
    this.#reply = reply;
    this.#deliveries = deliveries;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  lose(): void {
    this.#lost.abort();
  }

  start(): Promise<'started' | 'gone'> {
    this.#mustBeLive('start');
    return Promise.resolve('started');
  }

  async postpone(progress: Progress, until: number): Promise<void> {
    this.#mustBeLive('postpone');
    const { started: _, ...ended } = progress;
    const written = await this.#write({ ...ended, notBefore: until }, this.#deliveries);
    this.#end(nakBody(written ? until - Date.now() : LOOK_AGAIN), false);
  }

  async release(): Promise<void> {
    this.#mustBeLive('release');
    // Without this record the delivery would count as an attempt that nobody accounted for.
    await this.#write(this.progress, this.#deliveries - this.unaccounted);
    this.#end(nakBody(0), false);
  }

  async finish(response: ResponseEvent): Promise<void> {
    this.#mustBeLive('finish');
    const hasPast = this.#deliveries > 1 || this.#record > 0 || this.action.round > 1;
    if (isDeadLetter(response.outcome)) await storeDeadLetter(this.#context, this.action, response);
    // Somebody who died after the letter and before the acknowledgement has left one.
    else if (hasPast) await dropDeadLetter(this.#context, this.action);
    if (this.action.orderKey !== undefined) await this.#owner.leaveOrder(this.action);
    this.#end(ackBody.ack, true);
    if (this.#record > 0) await this.#forgetRecord();
  }

  /** Only an untidiness where it fails: the stream's age ends it. */
  async #forgetRecord(): Promise<void> {
    const { lookup, subjects, connection, report } = this.#context;
    try {
      await lookup.remove(subjects.deliveryStream(), this.#record);
    } catch (error) {
      if (connection.connected) report(error as Error);
    }
  }

  #mustBeLive(method: string): void {
    if (this.#ended) throw new TypeError(`${method}() on a lease that has ended`);
  }

  #end(body: string, settled: boolean): void {
    this.#ended = true;
    this.#owner.acknowledge(this.#reply, body);
    this.#owner.ended(this, settled);
  }

  /** Stores the record unless somebody else has changed it; false then. Goes on through broker failures. */
  async #write(progress: Progress, accounted: number): Promise<boolean> {
    const { publisher, subjects, streams, lookup } = this.#context;
    const subject = subjects.delivery(this.#name, this.action.id, this.action.round);
    const ack = await publisher.publish({
      subject,
      payload: encodeProgress({ progress, accounted }),
      headers: recordHeaders(this.#record),
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.deliveries())),
    });
    if (ack.kind === 'stored') {
      this.#record = ack.seq;
      return true;
    }
    if (!ack.resent) return false;
    // The other who was first may be an earlier send of this very record.
    const stored = await insist(this.#context, () => lookup.last(subjects.deliveryStream(), subject));
    if (stored === undefined) return false;
    const found = decodeProgress(stored.data);
    const { notBefore, attempts } = found.progress;
    return (
      found.accounted === accounted && notBefore === progress.notBefore && attempts.length === progress.attempts.length
    );
  }
}
