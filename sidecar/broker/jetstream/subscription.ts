import { setTimeout as pause } from 'node:timers/promises';
import { JetStreamApiCodes, type ConsumerConfig } from '@nats-io/jetstream';
import type { Msg } from '@nats-io/transport-node';
import { deliveryOf, redirected, type SubscriptionName } from '../../model/broadcast.ts';
import type { ActionEvent } from '../../model/call.ts';
import {
  decodeAction,
  decodeBroadcast,
  decodeProgress,
  encodeProgress,
  type StoredProgress,
} from '../../model/codec.ts';
import { topicTest } from '../../policy/topic.ts';
import { BrokerUnavailable, type SubscribeOptions, type SubscriptionTaking } from '../port.ts';
import { ACK_WAIT, startOf, subscriptionConfig } from './consumer.ts';
import type { Context } from './context.ts';
import { readDelivery } from './delivery.ts';
import { DeliveryLease, type DeliveryOwner } from './delivery-lease.ts';
import { recordHeaders } from './envelope.ts';
import { ackBody, LOOK_AGAIN, nakBody } from './lease.ts';
import { Pull } from './pull.ts';
import { insist } from './settlement.ts';
import { isApiError, type StreamSpec } from './streams.ts';

const EXTEND_EVERY = 1_500;
/** Deliveries whose acknowledgement may be lost and that need not be made again. */
const SETTLED_REMEMBERED = 20_000;
/** How often an ended subscription looks whether it was resumed, ms. */
const LOOK_FOR_RESUME = 1_000;
const nothing = new Uint8Array(0);
/** A message that cannot be read is looked at again after this, ms: by then a newer sidecar may be there. */
const UNREADABLE_AGAIN = 60_000;

const everything: Partial<ConsumerConfig> = { deliver_policy: 'all' };

/** A delivery of which it is being looked up what became of it before. */
interface Inspection {
  reply: string;
  deliveries: number;
}

/** One of the two places that a subscription takes from. */
interface Source {
  readonly spec: StreamSpec;
  readonly filter: string;
  readonly pull: Pull;
}

/**
 * Takes the deliveries of one subscription: new ones off the stream of all broadcast events, where its durable consumer
 * keeps its position, and replayed dead letters off a work queue.
 */
export class JetStreamSubscription implements SubscriptionTaking, DeliveryOwner {
  readonly #context: Context;
  readonly #name: SubscriptionName;
  readonly #consumer: string;
  readonly #options: SubscribeOptions;
  readonly #wants: (topic: string) => boolean;
  readonly #events: Source;
  readonly #replays: Source;
  readonly #inHand = new Map<string, DeliveryLease>();
  readonly #inspections = new Map<string, Inspection>();
  readonly #settled = new Set<string>();
  readonly #stopOpening: () => void;
  readonly #extension: NodeJS.Timeout;
  #resumed = false;
  #stopped = false;
  /** Runs while the subscription is ended. */
  #watch: NodeJS.Timeout | undefined;
  /** That it is ended is stored. */
  #isMarked = false;
  #ready = false;
  #made = false;
  #opening = 0;
  #lastTick = performance.now();

  constructor(context: Context, service: string, options: SubscribeOptions) {
    const { connection, subjects, streams } = context;
    this.#context = context;
    this.#options = options;
    this.#name = { service, subscription: options.name };
    this.#consumer = subjects.subscriptionConsumer(this.#name);
    this.#wants = topicTest(options.topic);
    this.#events = this.#source(streams.broadcasts(), subjects.broadcasts(options.topic), (msg) => this.#event(msg));
    this.#replays = this.#source(streams.redeliveries(), subjects.redelivery(this.#name, '*'), (msg) => {
      return redirected(decodeAction(msg.data), options.target());
    });
    this.#stopOpening = connection.onUp(() => {
      this.#open().catch(context.report);
    });
    this.#extension = setInterval(() => this.#extend(), EXTEND_EVERY);
  }

  #source(spec: StreamSpec, filter: string, read: (msg: Msg) => ActionEvent | undefined): Source {
    const pull: Pull = new Pull({
      connection: this.#context.connection,
      stream: spec.name,
      consumer: this.#consumer,
      free: () => (this.#stopped ? 0 : this.#options.free() - this.#inspections.size),
      deliver: (msg) => this.#deliver(msg, read, pull),
      missing: () => {
        this.#open().catch(this.#context.report);
      },
    });
    return { spec, filter, pull };
  }

  get isMade(): boolean {
    return this.#made;
  }

  get #sources(): readonly Source[] {
    return [this.#events, this.#replays];
  }

  /** Undefined where the filter of the server let through what the subscription does not want. */
  #event(msg: Msg): ActionEvent | undefined {
    const event = decodeBroadcast(msg.data);
    return this.#wants(event.topic) ? deliveryOf(event, this.#name, this.#options.target()) : undefined;
  }

  /** Makes streams and consumers and starts asking. Runs after each connect, the newest run only; never rejects. */
  async #open(): Promise<void> {
    const run = ++this.#opening;
    this.#ready = false;
    for (const { pull } of this.#sources) pull.pause();
    const { streams, connection, closing } = this.#context;
    while (run === this.#opening && connection.connected && !this.#stopped) {
      try {
        await streams.ensure(streams.deliveries());
        for (const source of this.#sources) await this.#ensureConsumer(source);
        this.#made = true;
        if (await this.#isMarkedEnded()) this.#halt();
        if (run !== this.#opening) return;
        this.#ready = true;
        for (const { pull } of this.#sources) pull.renew();
        this.#pullOn();
        return;
      } catch (error) {
        if (run !== this.#opening || !connection.connected) return;
        for (const { spec } of this.#sources) streams.forget(spec.name);
        const { service, subscription } = this.#name;
        this.#options.report(
          new Error(`cannot take events for ${service}/${subscription}: ${(error as Error).message}`, { cause: error }),
        );
        await pause(1_000, undefined, { signal: closing }).catch(() => undefined);
      }
    }
  }

  /** Its start is decided once, when it is made; a later change of the topic is a change of the filter. */
  async #ensureConsumer({ spec, filter }: Source): Promise<void> {
    const { streams } = this.#context;
    const { topic } = this.#options;
    await streams.ensure(spec);
    const manager = await streams.manager();
    const { consumers } = manager;
    const add = (start: Partial<ConsumerConfig>) =>
      consumers.add(spec.name, {
        ...subscriptionConfig,
        durable_name: this.#consumer,
        description: topic,
        filter_subject: filter,
        ...start,
      });
    const isQueue = spec.retention === 'workqueue';
    let known;
    try {
      known = await consumers.info(spec.name, this.#consumer);
    } catch (error) {
      if (!isApiError(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
    }
    if (known === undefined) {
      await add(isQueue ? everything : startOf(this.#options.from));
      return;
    }
    // In this order: what is stored between the two questions must not make a consumer look as if it was ahead.
    const { state } = await manager.streams.info(spec.name);
    if (known.delivered.stream_seq > state.last_seq) {
      // A server that was killed can lose the end of a stream and not what its consumers knew of it. Such a consumer lets
      // everything pass that gets one of the lost numbers again, what is published now included.
      this.#options.report(new Error(`the broker had lost the end of ${spec.name}; ${this.#consumer} is made anew`));
      await consumers.delete(spec.name, this.#consumer);
      const next = Math.min(known.ack_floor.stream_seq, state.last_seq) + 1;
      await add(isQueue ? everything : { deliver_policy: 'by_start_sequence', opt_start_seq: next });
    } else if (known.config.filter_subject !== filter || known.config.description !== topic) {
      await consumers.update(spec.name, this.#consumer, { description: topic, filter_subject: filter });
    }
  }

  pause(): void {
    if (this.#stopped) return;
    this.#resumed = false;
    for (const { pull } of this.#sources) pull.pause();
  }

  resume(): void {
    if (this.#stopped) return;
    this.#resumed = true;
    this.#pullOn();
  }

  #pullOn(): void {
    if (this.#ready && this.#resumed && !this.isEnded) for (const { pull } of this.#sources) pull.resume();
  }

  get isEnded(): boolean {
    return this.#watch !== undefined;
  }

  async end(): Promise<void> {
    this.#halt();
    const { publisher, subjects, streams } = this.#context;
    await publisher.publish({
      subject: subjects.ended(this.#name),
      payload: nothing,
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.deliveries())),
    });
    this.#isMarked = true;
  }

  /** Asks for nothing more, and looks now and then whether somebody has taken the mark away. */
  #halt(): void {
    for (const { pull } of this.#sources) pull.pause();
    this.#watch ??= setInterval(() => {
      this.#lookForResume().catch((error: Error) => {
        if (this.#context.connection.connected) this.#options.report(error);
      });
    }, LOOK_FOR_RESUME);
  }

  async #lookForResume(): Promise<void> {
    if (!this.#isMarked || !this.#context.connection.connected || (await this.#isMarkedEnded())) return;
    clearInterval(this.#watch);
    this.#watch = undefined;
    this.#pullOn();
  }

  async #isMarkedEnded(): Promise<boolean> {
    const { lookup, subjects } = this.#context;
    this.#isMarked = (await lookup.last(subjects.deliveryStream(), subjects.ended(this.#name))) !== undefined;
    return this.#isMarked;
  }

  more(): void {
    for (const { pull } of this.#sources) pull.request();
  }

  #deliver(msg: Msg, read: (msg: Msg) => ActionEvent | undefined, pull: Pull): void {
    const reply = msg.reply ?? '';
    let deliveries: number;
    let action: ActionEvent | undefined;
    try {
      ({ deliveries } = readDelivery(reply));
      action = read(msg);
    } catch (error) {
      const { service, subscription } = this.#name;
      this.#options.report(
        new Error(`an event for ${service}/${subscription} cannot be read: ${(error as Error).message}`, {
          cause: error,
        }),
      );
      this.acknowledge(reply, nakBody(UNREADABLE_AGAIN));
      return;
    }
    if (action === undefined) {
      this.acknowledge(reply, ackBody.ack);
      pull.request();
      return;
    }
    const key = keyOf(action);
    const atHand = this.#inHand.get(key);
    const inspected = this.#inspections.get(key);
    if (atHand !== undefined) {
      atHand.redelivered(reply, deliveries);
      this.acknowledge(reply, ackBody.working);
    } else if (inspected !== undefined) {
      Object.assign(inspected, { reply, deliveries });
      this.acknowledge(reply, ackBody.working);
    } else if (this.#settled.has(key)) {
      this.acknowledge(reply, ackBody.ack);
      pull.request();
    } else if (deliveries > 1) {
      this.#inspect(key, { reply, deliveries }, action).catch(this.#context.report);
    } else {
      this.#hand(action, { reply, deliveries }, undefined, 0);
    }
  }

  /** Finds out what is recorded of earlier deliveries. */
  async #inspect(key: string, inspection: Inspection, action: ActionEvent): Promise<void> {
    const { lookup, subjects, closing } = this.#context;
    this.#inspections.set(key, inspection);
    try {
      const subject = subjects.delivery(this.#name, action.id, action.round);
      const record = await insist(this.#context, () => lookup.last(subjects.deliveryStream(), subject));
      const stored = record === undefined ? undefined : decodeProgress(record.data);
      const wait = (stored?.progress.notBefore ?? 0) - Date.now();
      // A server that was restarted has forgotten how long it was to wait.
      if (stored !== undefined && wait > 20) await this.#putOff(inspection, action, stored, record!.seq, wait);
      else this.#hand(action, inspection, stored, record?.seq ?? 0);
    } catch (error) {
      if (closing.aborted) return;
      this.#options.report(
        new Error(`looking up the past of delivery ${action.id}: ${(error as Error).message}`, { cause: error }),
      );
      this.acknowledge(inspection.reply, nakBody(LOOK_AGAIN));
    } finally {
      this.#inspections.delete(key);
      this.more();
    }
  }

  /** Gives back what is not handed out, and records it, or the delivery would count as an attempt. */
  async #putOff(
    inspection: Inspection,
    action: ActionEvent,
    { progress, accounted }: StoredProgress,
    record: number,
    wait: number,
  ): Promise<void> {
    const { publisher, subjects, streams } = this.#context;
    await publisher.publish({
      subject: subjects.delivery(this.#name, action.id, action.round),
      payload: encodeProgress({ progress, accounted: accounted + 1 }),
      headers: recordHeaders(record),
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.deliveries())),
    });
    this.acknowledge(inspection.reply, nakBody(wait));
  }

  #hand(action: ActionEvent, of: Inspection, stored: StoredProgress | undefined, record: number): void {
    const lease = new DeliveryLease(this.#context, this, {
      ...of,
      name: this.#name,
      action,
      record,
      ...(stored !== undefined && { stored }),
    });
    this.#inHand.set(keyOf(action), lease);
    // A request that was under way may still bring some, and bring back at once what is merely released.
    if (this.isEnded) this.#own(lease.postpone(lease.progress, Date.now() + LOOK_FOR_RESUME));
    else if (this.#resumed && !this.#stopped) this.#options.deliver(lease);
    else this.#own(lease.release());
  }

  #own(work: Promise<void>): void {
    work.catch((error: Error) => this.#options.report(error));
  }

  ended(lease: DeliveryLease, settled: boolean): void {
    const key = keyOf(lease.action);
    this.#inHand.delete(key);
    if (!settled) return;
    this.#settled.add(key);
    if (this.#settled.size <= SETTLED_REMEMBERED) return;
    for (const oldest of this.#settled) {
      this.#settled.delete(oldest);
      break;
    }
  }

  acknowledge(reply: string, body: string): void {
    // Without a connection the delivery times out and comes again; what is settled is then recognised.
    this.#context.connection.send(reply, body);
  }

  #extend(): void {
    const now = performance.now();
    const { connection } = this.#context;
    // Suspended, or cut off, for longer than the server waits: others may have these deliveries by now.
    const silentSince = connection.connected ? this.#lastTick : connection.lastSeen;
    const lost = now - silentSince > ACK_WAIT;
    this.#lastTick = now;
    for (const lease of this.#inHand.values()) {
      if (lost) lease.lose();
      this.acknowledge(lease.reply, ackBody.working);
    }
    for (const { reply } of this.#inspections.values()) this.acknowledge(reply, ackBody.working);
  }

  /** Where the server's filter is coarser than the topic, what it lets through is counted with it. */
  async backlog(): Promise<{ waiting: number; oldest?: number }> {
    const { streams, lookup } = this.#context;
    const { service, subscription } = this.#name;
    try {
      const { consumers } = await streams.manager();
      const infos = await Promise.all(this.#sources.map(({ spec }) => consumers.info(spec.name, this.#consumer)));
      const waiting = infos.reduce((sum, info) => sum + info.num_pending + info.num_ack_pending, 0);
      if (waiting === 0) return { waiting };
      const next = await lookup.at(this.#events.spec.name, infos[0]!.ack_floor.stream_seq + 1, true);
      return { waiting, ...(next !== undefined && { oldest: decodeBroadcast(next.data).at }) };
    } catch (error) {
      throw new BrokerUnavailable(`backlog of ${service}/${subscription}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#resumed = false;
    for (const { pull } of this.#sources) pull.pause();
    await Promise.resolve();
  }

  /** Ends everything; the connection is about to close. */
  close(): void {
    this.#stopped = true;
    clearInterval(this.#extension);
    clearInterval(this.#watch);
    this.#stopOpening();
    for (const { pull } of this.#sources) pull.close();
  }
}

function keyOf(action: ActionEvent): string {
  return `${action.id}:${action.round}`;
}
