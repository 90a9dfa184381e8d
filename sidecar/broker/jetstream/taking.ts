import { setTimeout as pause } from 'node:timers/promises';
import type { Msg } from '@nats-io/transport-node';
import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import { noProgress, type ActionEvent, type ResponseEvent } from '../../model/call.ts';
import {
  decodeAction,
  decodeProgress,
  decodeResponse,
  encodeProgress,
  type StoredProgress,
} from '../../model/codec.ts';
import type { TakeOptions, Taking } from '../port.ts';
import { BrokerUnavailable } from '../port.ts';
import { ensureCallback } from './callback.ts';
import { ensurePublished } from './call-feed.ts';
import { ACK_WAIT, CONSUMER, ensureConsumer } from './consumer.ts';
import type { Context } from './context.ts';
import { Colleagues } from './colleagues.ts';
import { answerControl, type ControlReply, type ControlRequest } from './control.ts';
import { readDelivery, type Delivery } from './delivery.ts';
import { recordHeaders, wasResent } from './envelope.ts';
import { ackBody, JetStreamLease, LOOK_AGAIN, nakBody, type LeaseOwner } from './lease.ts';
import { ForgottenActions } from './forgotten.ts';
import { Inspection, keyOf } from './inspection.ts';
import { callLine } from './order-queue.ts';
import { OrderWatch } from './order-watch.ts';
import { OverdueWatch } from './overdue.ts';
import { Pull } from './pull.ts';
import { RecentKeys } from './recent.ts';
import { RecordCleaner } from './record-cleaner.ts';
import { endsRound } from './precedence.ts';
import { insist } from './settlement.ts';

const EXTEND_EVERY = 1_500;
/** Deliveries whose acknowledgement may be lost and that must not run again. */
const SETTLED_REMEMBERED = 10_000;
/** How long a call that somebody asked to withdraw is looked at twice, ms. */
const SUSPICIOUS_FOR = 10_000;
/** A message that cannot be read is looked at again after this, ms: by then a newer sidecar may be there. */
const UNREADABLE_AGAIN = 60_000;

/** Takes the actions of one service off its stream. */
export class JetStreamTaking implements Taking, LeaseOwner {
  readonly #context: Context;
  readonly #service: string;
  readonly #options: TakeOptions;
  readonly #pull: Pull;
  readonly #overdue: OverdueWatch;
  readonly #order: OrderWatch;
  readonly #cleaner: RecordCleaner;
  readonly #forgotten: ForgottenActions;
  readonly #colleagues: Colleagues;
  readonly #inHand = new LinkedHashMap<string, JetStreamLease>();
  readonly #settled = new RecentKeys(SETTLED_REMEMBERED);
  readonly #suspicious = new Map<string, number>();
  readonly #stops: (() => void)[] = [];
  /** Deliveries whose past is being looked up. */
  readonly #inspections = new LinkedHashMap<string, Inspection>();
  #resumed = false;
  #stopped = false;
  #ready = false;
  #opening = 0;
  /** Messages up to this sequence were stored before this connection stood: they may have a past that the server forgot. */
  #boundary = 0;
  #lastTick = performance.now();
  /** When this connection stood, ms of `performance.now()`. */
  #connectedAt = performance.now();
  /** Others may have taken what this instance was working on. */
  #inDoubt = false;
  readonly #extension: NodeJS.Timeout;

  constructor(context: Context, service: string, options: TakeOptions) {
    this.#context = context;
    this.#service = service;
    this.#options = options;
    const { connection, subjects } = context;
    this.#pull = new Pull({
      connection,
      stream: subjects.actionStream(service),
      consumer: CONSUMER,
      free: () => (this.#stopped ? 0 : options.free() - this.#inspections.size),
      deliver: (msg) => this.#deliver(msg),
      missing: () => {
        this.#open().catch(context.report);
      },
    });
    this.#overdue = new OverdueWatch(context, service);
    // Taking starts paused, and deadlines pass from the first moment on.
    this.#overdue.start();
    this.#cleaner = new RecordCleaner(context, service);
    this.#order = new OrderWatch(context, callLine(context, service));
    this.#forgotten = new ForgottenActions(context, service, CONSUMER, (...ended) => this.#over(...ended));
    this.#colleagues = new Colleagues(context, service);
    this.#stops.push(
      answerControl(connection, subjects, service, (request) => this.#answer(request)),
      connection.onUp(() => {
        this.#connectedAt = performance.now();
        this.#open().catch(context.report);
      }),
    );
    this.#extension = setInterval(() => this.#extend(), EXTEND_EVERY);
  }

  /** Makes stream and consumer and starts asking. Runs after each connect, the newest run only; never rejects. */
  async #open(): Promise<void> {
    const run = ++this.#opening;
    this.#ready = false;
    this.#pull.pause();
    const { streams, connection, closing, subjects } = this.#context;
    while (run === this.#opening && connection.connected && !this.#stopped) {
      try {
        await streams.ensure(streams.attempts(this.#service));
        await streams.ensure(streams.actions(this.#service));
        const manager = await streams.manager();
        await ensureConsumer(manager, subjects.actionStream(this.#service));
        const { state } = await manager.streams.info(subjects.actionStream(this.#service));
        if (run !== this.#opening) return;
        this.#boundary = state.last_seq;
        this.#ready = true;
        this.#cleaner.sweep();
        this.#pull.renew();
        if (this.#resumed) this.#pull.resume();
        return;
      } catch (error) {
        if (run !== this.#opening || !connection.connected) return;
        streams.forget(subjects.actionStream(this.#service));
        this.#options.report(
          new Error(`cannot take calls for ${this.#service}: ${(error as Error).message}`, { cause: error }),
        );
        await pause(1_000, undefined, { signal: closing }).catch(() => undefined);
      }
    }
  }

  pause(): void {
    if (this.#stopped) return;
    this.#resumed = false;
    this.#pull.pause();
    this.#overdue.start();
  }

  resume(): void {
    if (this.#stopped) return;
    this.#resumed = true;
    this.#overdue.stop();
    if (this.#ready) this.#pull.resume();
  }

  more(): void {
    this.#pull.request();
  }

  #deliver(msg: Msg): void {
    let delivery: Delivery;
    let action: ActionEvent;
    const reply = msg.reply ?? '';
    try {
      delivery = readDelivery(reply);
      action = decodeAction(msg.data);
    } catch (error) {
      this.#options.report(
        new Error(`an action for ${this.#service} cannot be read: ${(error as Error).message}`, { cause: error }),
      );
      this.acknowledge(reply, nakBody(UNREADABLE_AGAIN));
      return;
    }
    const key = keyOf(action);
    const atHand = this.#inHand.get(key) ?? this.#inspections.get(key);
    if (atHand !== undefined) {
      atHand.redelivered(reply, delivery.deliveries);
      this.acknowledge(reply, ackBody.working);
    } else if (this.#settled.has(key)) {
      this.#order.settle(action, () => this.acknowledge(reply, ackBody.ack));
    } else if (this.#hasPast(msg, delivery, action)) {
      const inspection = new Inspection(reply, delivery.deliveries);
      this.#inspections.set(key, inspection);
      this.#inspect(inspection, action)
        .finally(() => {
          this.#inspections.delete(key);
          this.#pull.request();
        })
        .catch(this.#context.report);
    } else {
      this.#hand(action, reply, delivery.deliveries, undefined, 0);
    }
  }

  #hasPast(msg: Msg, delivery: Delivery, action: ActionEvent): boolean {
    return (
      delivery.deliveries > 1 ||
      delivery.seq <= this.#boundary ||
      (this.#suspicious.size > 0 && this.#suspicious.has(action.id)) ||
      wasResent(msg)
    );
  }

  /** Finds out what happened to a call before this delivery. */
  async #inspect(delivery: Inspection, action: ActionEvent): Promise<void> {
    const { lookup, subjects, closing } = this.#context;
    const { id, caller, round } = action;
    try {
      // Given back meanwhile, the delivery would count as an attempt; so it is kept until the broker answers.
      const [response, record] = await insist(this.#context, () =>
        Promise.all([
          lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id)),
          lookup.last(subjects.attemptStream(this.#service), subjects.progress(this.#service, id, round)),
        ]),
      );
      const ended = response === undefined ? undefined : decodeResponse(response.data);
      if (ended !== undefined && endsRound(ended, round)) {
        await this.#over(action, ended);
        this.#settled.add(keyOf(action));
        this.acknowledge(delivery.reply, ackBody.ack);
        if (record !== undefined) this.#cleaner.add(record.seq);
        if (action.bodyRef !== undefined) await this.#context.bodies.forget(action.bodyRef);
        return;
      }
      const stored = record === undefined ? undefined : decodeProgress(record.data);
      if (delivery.hidesAttempt(action, stored) && (await this.#colleagues.isSending(id))) {
        // Their lease ran out while the service was still working. Given back, this delivery would count as an attempt.
        await pause(LOOK_AGAIN, undefined, { signal: closing });
        return await this.#inspect(delivery, action);
      }
      const wait = await this.#notYet(action, stored);
      if (wait > 0) await this.#putOff(delivery, action, stored, record?.seq ?? 0, wait);
      else this.#hand(action, delivery.reply, delivery.deliveries, stored, record?.seq ?? 0);
    } catch (error) {
      if (closing.aborted) return;
      this.#options.report(
        new Error(`looking up the past of call ${id}: ${(error as Error).message}`, { cause: error }),
      );
      this.acknowledge(delivery.reply, nakBody(LOOK_AGAIN));
    }
  }

  /** How long a call is not to be handed out yet, ms; 0: now. */
  async #notYet({ id }: ActionEvent, stored: StoredProgress | undefined): Promise<number> {
    const withdrawnAt = this.#suspicious.get(id);
    if (withdrawnAt !== undefined && performance.now() - withdrawnAt < LOOK_AGAIN) return LOOK_AGAIN;
    const started = stored?.progress.started;
    if (started !== undefined && (await this.#atWork(id, started.instance))) return LOOK_AGAIN;
    const wait = (stored?.progress.notBefore ?? 0) - Date.now();
    return wait > 20 ? wait : 0;
  }

  /**
   * Gives back what is not handed out. Of an idempotent call it is recorded, or the delivery would count as an attempt that
   * nobody accounted for; for others a delivery counts for nothing.
   */
  async #putOff(
    delivery: Inspection,
    action: ActionEvent,
    stored: StoredProgress | undefined,
    record: number,
    wait: number,
  ): Promise<void> {
    if (action.idempotent) {
      const { publisher, subjects, streams } = this.#context;
      const known = stored ?? { progress: noProgress, accounted: 0 };
      // Where somebody else has changed the record meanwhile, theirs is the newer truth.
      await publisher.publish({
        subject: subjects.progress(this.#service, action.id, action.round),
        payload: encodeProgress({ ...known, accounted: known.accounted + 1 }),
        headers: recordHeaders(record),
        patience: 'keep',
        ensureStream: async () => void (await streams.ensure(streams.attempts(this.#service))),
      });
    }
    this.acknowledge(delivery.reply, nakBody(wait));
  }

  /** Whether the instance that started this call is alive and still has it in hand, as far as that can be known. */
  async #atWork(id: string, instance: string): Promise<boolean> {
    if (instance === this.#context.instance) return false;
    // After a failure of the broker some are back before others, and one with the answer in hand may be the last.
    if (performance.now() - this.#connectedAt < ACK_WAIT) return true;
    return await this.#colleagues.has(id, instance);
  }

  #hand(
    action: ActionEvent,
    reply: string,
    deliveries: number,
    stored: StoredProgress | undefined,
    record: number,
  ): void {
    const key = keyOf(action);
    const twin = this.#inHand.get(key);
    if (twin !== undefined) {
      twin.redelivered(reply, deliveries);
      return;
    }
    const lease = new JetStreamLease(this.#context, this, {
      action,
      reply,
      deliveries,
      ...(stored !== undefined && { stored }),
      record,
    });
    this.#inHand.set(key, lease);
    if (this.#resumed && !this.#stopped) this.#options.deliver(lease);
    else lease.release().catch((error: Error) => this.#options.report(error));
  }

  /**
   * What has to be done before a call that has its response event is settled. Whoever stored that may have died before it, so
   * everybody who finds a call so does it.
   */
  async #over(action: ActionEvent, response: ResponseEvent): Promise<void> {
    if (action.callback !== undefined) await ensureCallback(this.#context, action, response);
    if (this.publishesCalls) await ensurePublished(this.#context, action, response);
    await this.#order.leave(action);
  }

  get publishesCalls(): boolean {
    return this.#options.publishCalls?.() === true;
  }

  ended(lease: JetStreamLease, settled: boolean): void {
    this.#inHand.delete(keyOf(lease.action));
    if (settled) {
      this.#settled.add(keyOf(lease.action));
      if (lease.record > 0) this.#cleaner.add(lease.record);
      const { bodyRef } = lease.action;
      if (bodyRef !== undefined) this.#context.bodies.forget(bodyRef).catch(this.#context.report);
    }
  }

  leaveOrder(action: ActionEvent): Promise<void> {
    return this.#order.leave(action);
  }

  acknowledge(reply: string, body: string): void {
    // Without a connection the delivery times out and comes again; what is settled is then recognised.
    this.#context.connection.send(reply, body);
  }

  #extend(): void {
    const now = performance.now();
    const { connection } = this.#context;
    // Suspended, or cut off, for longer than the server waits: others may have these calls by now.
    const silentSince = connection.connected ? this.#lastTick : connection.lastSeen;
    const silent = now - silentSince > ACK_WAIT;
    this.#lastTick = now;
    this.#inDoubt ||= silent;
    for (const lease of this.#inHand.values()) {
      if (silent && lease.state === 'held') lease.lose();
      this.acknowledge(lease.reply, ackBody.working);
    }
    if (this.#inDoubt && connection.connected) {
      this.#inDoubt = false;
      this.#colleagues.concede(this.#inHand.values()).catch(this.#context.report);
    }
    for (const { reply } of this.#inspections.values()) this.acknowledge(reply, ackBody.working);
    for (const [id, at] of this.#suspicious) if (now - at > SUSPICIOUS_FOR) this.#suspicious.delete(id);
    if (this.#resumed) this.#overdue.whileBusy(this.#options.free() <= 0);
  }

  overslept(): boolean {
    return performance.now() - this.#lastTick > ACK_WAIT;
  }

  #answer(request: ControlRequest): ControlReply {
    const held: string[] = [];
    const sending: string[] = [];
    const wanted = new Set(request.ids);
    for (const lease of this.#inHand.values()) {
      const { id } = lease.action;
      if (!wanted.delete(id)) continue;
      const mayLetGo = request.op === 'withdraw' ? lease.letGo() : lease.state === 'held';
      (mayLetGo ? held : sending).push(id);
    }
    if (request.op === 'withdraw') {
      const now = performance.now();
      for (const id of request.ids) this.#suspicious.set(id, now);
    }
    return { instance: this.#context.instance, held, sending };
  }

  async backlog(): Promise<{ waiting: number; oldest?: number }> {
    const { streams, subjects, lookup } = this.#context;
    const stream = subjects.actionStream(this.#service);
    const manager = await streams.manager();
    let state;
    try {
      ({ state } = await manager.streams.info(stream));
    } catch (error) {
      throw new BrokerUnavailable(`backlog of ${this.#service}: ${(error as Error).message}`, { cause: error });
    }
    // The first of each order key is among the actions.
    const waiting = state.messages + this.#order.waiting;
    if (state.messages === 0) return { waiting };
    const oldest = await lookup.at(stream, state.first_seq, true);
    return { waiting, ...(oldest !== undefined && { oldest: decodeAction(oldest.data).acceptedAt }) };
  }

  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#resumed = false;
    this.#pull.pause();
    this.#overdue.stop();
    await Promise.resolve();
  }

  /** Ends everything; the connection is about to close. */
  close(): void {
    this.#stopped = true;
    clearInterval(this.#extension);
    this.#overdue.stop();
    this.#order.close();
    this.#cleaner.close();
    this.#forgotten.close();
    this.#pull.close();
    for (const stop of this.#stops) stop();
  }
}
