import { setTimeout as pause } from 'node:timers/promises';
import type { Msg } from '@nats-io/transport-node';
import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import { deliveryOf, redirected, type SubscriptionName } from '../../model/broadcast.ts';
import type { ActionEvent } from '../../model/call.ts';
import {
  decodeAction,
  decodeBroadcast,
  decodeProgress,
  encodeProgress,
  type StoredProgress,
} from '../../model/codec.ts';
import { eventOrderKeyOf } from '../../policy/order.ts';
import { topicTest } from '../../policy/topic.ts';
import { BrokerUnavailable, type SubscribeOptions, type SubscriptionTaking } from '../port.ts';
import { ACK_WAIT } from './consumer.ts';
import type { Context } from './context.ts';
import { readDelivery } from './delivery.ts';
import { DeliveryLease, type DeliveryOwner } from './delivery-lease.ts';
import { deliveryLine, isInLine, takeIn } from './delivery-line.ts';
import { EndMark, LOOK_FOR_RESUME } from './end-mark.ts';
import { recordHeaders } from './envelope.ts';
import { Inspection, keyOf } from './inspection.ts';
import { ackBody, LOOK_AGAIN, nakBody } from './lease.ts';
import { OrderWatch } from './order-watch.ts';
import { MessageRefused } from './publisher.ts';
import { Pull } from './pull.ts';
import { RecentKeys } from './recent.ts';
import { insist } from './settlement.ts';
import type { StreamSpec } from './streams.ts';
import { ensureSubscriptionConsumer } from './subscription-consumer.ts';

const EXTEND_EVERY = 1_500;
/** Deliveries whose acknowledgement may be lost and that need not be made again. */
const SETTLED_REMEMBERED = 20_000;
/** A message that cannot be read is looked at again after this, ms: by then a newer sidecar may be there. */
const UNREADABLE_AGAIN = 60_000;

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
  readonly #inHand = new LinkedHashMap<string, DeliveryLease>();
  readonly #inspections = new LinkedHashMap<string, Inspection>();
  readonly #settled = new RecentKeys(SETTLED_REMEMBERED);
  readonly #endMark: EndMark;
  readonly #stopOpening: () => void;
  readonly #extension: NodeJS.Timeout;
  /** Where deliveries have, or had, an order key. */
  #order: OrderWatch | undefined;
  #resumed = false;
  #stopped = false;
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
    this.#endMark = new EndMark(context, this.#name, {
      halt: () => this.#sources.forEach(({ pull }) => pull.pause()),
      goOn: () => this.#pullOn(),
      report: (problem) => options.report(problem),
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
      free: () => this.#free(spec),
      deliver: (msg) => this.#deliver(msg, read, pull),
      missing: () => {
        this.#open().catch(this.#context.report);
      },
    });
    return { spec, filter, pull };
  }

  /** Events in order are taken in one after another, while somebody has room for what comes of it. */
  #free({ retention }: StreamSpec): number {
    const free = this.#stopped ? 0 : this.#options.free() - this.#inspections.size;
    return this.#options.orderBy === undefined || retention === 'workqueue' ? free : Math.min(1, free);
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
    if (!this.#wants(event.topic)) return undefined;
    return deliveryOf(event, this.#name, this.#options.target(), eventOrderKeyOf(this.#options.orderBy, event));
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
        await this.#ensureOrder();
        this.#made = true;
        await this.#endMark.look();
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

  #ensureConsumer({ spec, filter }: Source): Promise<void> {
    const { topic, from, orderBy } = this.#options;
    const consumer = { name: this.#consumer, topic, filter, from, isOrdered: orderBy !== undefined };
    return ensureSubscriptionConsumer(this.#context, spec, consumer, (problem) => this.#options.report(problem));
  }

  /** What waits for its turn goes on in order also where no order is asked for any more. */
  async #ensureOrder(): Promise<void> {
    const { streams, lookup, subjects } = this.#context;
    if (this.#options.orderBy !== undefined) await streams.ensure(streams.turns());
    else if ((await lookup.next(subjects.turnStream(), 1, subjects.turns(this.#name))) === undefined) return;
    this.#watchOrder();
  }

  #watchOrder(): OrderWatch {
    this.#order ??= new OrderWatch(this.#context, deliveryLine(this.#context, this.#name));
    return this.#order;
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
    return this.#endMark.isSet;
  }

  end(): Promise<void> {
    return this.#endMark.set();
  }

  more(): void {
    for (const { pull } of this.#sources) pull.request();
  }

  #deliver(msg: Msg, read: (msg: Msg) => ActionEvent | undefined, pull: Pull): void {
    const reply = msg.reply ?? '';
    let deliveries: number;
    let seq: number;
    let action: ActionEvent | undefined;
    try {
      ({ deliveries, seq } = readDelivery(reply));
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
    if (pull === this.#events.pull && this.#options.orderBy !== undefined) {
      this.#own(this.#takeIn(action, seq, new Inspection(reply, deliveries)));
      return;
    }
    const key = keyOf(action);
    const atHand = this.#inHand.get(key) ?? this.#inspections.get(key);
    if (atHand !== undefined) {
      atHand.redelivered(reply, deliveries);
      this.acknowledge(reply, ackBody.working);
    } else if (this.#settled.has(key)) {
      this.acknowledge(reply, ackBody.ack);
      pull.request();
    } else if (deliveries > 1 || action.orderKey !== undefined) {
      this.#inspect(key, new Inspection(reply, deliveries), action).catch(this.#context.report);
    } else {
      this.#hand(action, new Inspection(reply, deliveries), undefined, 0);
    }
  }

  /** The event is acknowledged when its delivery is in its line, and only then the next one comes, to whichever instance. */
  async #takeIn(action: ActionEvent, position: number, delivered: Inspection): Promise<void> {
    try {
      await takeIn(this.#context, this.#name, action, position);
    } catch (error) {
      if (!(error instanceof MessageRefused)) throw error;
      // Better out of order than never.
      this.#options.report(error);
      const { orderKey: _, ...unordered } = action;
      this.#hand(unordered, delivered, undefined, 0);
      return;
    }
    this.acknowledge(delivered.reply, ackBody.ack);
    this.#events.pull.request();
  }

  /** Finds out what is recorded of earlier deliveries. */
  async #inspect(key: string, inspection: Inspection, action: ActionEvent): Promise<void> {
    const { lookup, subjects, closing } = this.#context;
    this.#inspections.set(key, inspection);
    try {
      if (action.orderKey !== undefined && !(await insist(this.#context, () => isInLine(this.#context, action)))) {
        // Its turn is over, and the server has forgotten that.
        this.acknowledge(inspection.reply, ackBody.ack);
        return;
      }
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
      ...of.delivered,
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
    if (settled) this.#settled.add(key);
  }

  async leaveOrder(action: ActionEvent): Promise<void> {
    await this.#watchOrder().leave(action);
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
    const { streams, lookup, subjects } = this.#context;
    const { service, subscription } = this.#name;
    try {
      const { consumers } = await streams.manager();
      const infos = await Promise.all(this.#sources.map(({ spec }) => consumers.info(spec.name, this.#consumer)));
      const open = infos.reduce((sum, info) => sum + info.num_pending + info.num_ack_pending, 0);
      // The first of each order key is among these.
      const waiting = open + (this.#order?.waiting ?? 0);
      if (waiting === 0) return { waiting };
      const first =
        this.#order === undefined ? undefined : await lookup.next(subjects.turnStream(), 1, subjects.turns(this.#name));
      if (first !== undefined) return { waiting, oldest: decodeAction(first.data).acceptedAt };
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
    this.#endMark.close();
    this.#stopOpening();
    for (const { pull } of this.#sources) pull.close();
    this.#order?.close();
  }
}
