import { isDeadLetter, type ActionEvent, type Answer, type Progress, type ResponseEvent } from '../../model/call.ts';
import { decodeProgress, decodeResponse, encodeProgress, type StoredProgress } from '../../model/codec.ts';
import type { Lease } from '../port.ts';
import { ensureCallback } from './callback.ts';
import { ensurePublished } from './call-feed.ts';
import type { Context } from './context.ts';
import { recordHeaders } from './envelope.ts';
import { endsRound } from './precedence.ts';
import { dropDeadLetter, insist, storeResponse } from './settlement.ts';

/** Pause before a call that another sidecar may be dealing with is looked at again, ms. */
export const LOOK_AGAIN = 1_000;

export interface LeaseOwner {
  /** The lease ended; `settled`: the call is finished. */
  ended(lease: JetStreamLease, settled: boolean): void;
  /** Finished calls are published, too. */
  readonly publishesCalls: boolean;
  /** Sends an acknowledgement of some kind for a delivery. */
  acknowledge(reply: string, body: Uint8Array | string): void;
  /** This process stood still for so long that others may have its calls, and has not noticed yet. */
  overslept(): boolean;
  /** The response of an action with an order key is stored: the next one may go. Before the action is settled. */
  leaveOrder(action: ActionEvent): Promise<void>;
}

export const ackBody = { ack: '+ACK', working: '+WPI' } as const;

export function nakBody(delayMs: number): string {
  return delayMs > 0 ? `-NAK {"delay": ${Math.round(delayMs) * 1_000_000}}` : '-NAK';
}

/**
 * One delivery of an action. States: `held` -> `sending` (after `start`) -> `ended`; `held` -> `ended`.
 * `withdrawn` is a flag on `held`: somebody asked to take the call back, so it must not start in this delivery.
 */
export class JetStreamLease implements Lease {
  readonly action: ActionEvent;
  readonly progress: Progress;
  readonly unaccounted: number;
  readonly #context: Context;
  readonly #owner: LeaseOwner;
  /** Of the connection over which it came. */
  readonly #generation: number;
  /** As the server counts them. */
  #deliveries: number;
  /** Sequence of the stored record, 0 while there is none. */
  #record: number;
  /** The call was delivered before, as far as the broker remembers it. */
  #hasPast: boolean;
  #lost: AbortController | undefined;
  #state: 'held' | 'sending' | 'ended' = 'held';
  #withdrawn = false;
  /** Another instance has the call in hand. */
  #taken = false;
  /** Where acknowledgements of the newest delivery go. */
  #reply: string;

  constructor(
    context: Context,
    owner: LeaseOwner,
    delivery: { action: ActionEvent; reply: string; deliveries: number; stored?: StoredProgress; record: number },
  ) {
    this.#context = context;
    this.#owner = owner;
    this.action = delivery.action;
    this.#reply = delivery.reply;
    this.#deliveries = delivery.deliveries;
    this.#record = delivery.record;
    // Not the record of this delivery's own start.
    this.#hasPast = delivery.deliveries > 1 || delivery.record > 0;
    this.#generation = context.connection.generation;
    this.progress = delivery.stored?.progress ?? { attempts: [] };
    const earlier = delivery.deliveries - 1 - (delivery.stored?.accounted ?? 0);
    // Starts of other calls are on record, so only for idempotent ones a delivery can hide an attempt.
    const hidden = this.action.idempotent && this.progress.started === undefined;
    this.unaccounted = hidden ? Math.max(0, earlier) : 0;
  }

  get state(): 'held' | 'sending' | 'ended' {
    return this.#state;
  }

  get reply(): string {
    return this.#reply;
  }

  /** The server has delivered the same action here once more. That is no attempt. */
  redelivered(reply: string, deliveries: number): void {
    this.#reply = reply;
    this.#deliveries = deliveries;
    this.#hasPast = true;
  }

  /** Sequence of this call's record in the attempts stream, 0 where there is none. */
  get record(): number {
    return this.#record;
  }

  get lost(): AbortSignal {
    this.#lost ??= new AbortController();
    return this.#lost.signal;
  }

  /** @param how `taken`: another instance is known to have the call, so that its records and its delivery are left alone */
  lose(how?: 'taken'): void {
    this.#taken ||= how === 'taken';
    this.#lost ??= new AbortController();
    this.#lost.abort();
  }

  /** Asks that the call is not started in this delivery; false when it is too late. */
  letGo(): boolean {
    // An earlier delivery may have been sent by a sidecar that died.
    if (this.#state !== 'held' || this.unaccounted > 0) return false;
    this.#withdrawn = true;
    return true;
  }

  async start(attempt: number): Promise<'started' | 'gone'> {
    if (this.#state !== 'held') throw new TypeError(`start() on a lease that is ${this.#state}`);
    if (this.#withdrawn) {
      await this.release();
      return 'gone';
    }
    if (this.action.idempotent && this.#owner.overslept()) {
      this.lose();
      await this.release();
      return 'gone';
    }
    this.#state = 'sending';
    if (!this.action.idempotent) {
      const started = { attempt, at: Date.now(), instance: this.#context.instance };
      if (!(await this.#write({ ...this.progress, started }, this.#deliveries - 1))) {
        this.#giveBack(LOOK_AGAIN);
        return 'gone';
      }
    }
    // While it was cut off, this instance could not be asked to let the call go.
    const { connection } = this.#context;
    if (connection.connected && connection.generation !== this.#generation && (await this.isOver())) {
      this.#giveBack(0);
      return 'gone';
    }
    return 'started';
  }

  async postpone(progress: Progress, until: number): Promise<void> {
    this.#mustBeLive('postpone');
    if (this.#taken) return this.#drop();
    const { started: _, ...ended } = progress;
    const isOurs = await this.#write({ ...ended, notBefore: until }, this.#deliveries);
    this.#giveBack(isOurs ? until - Date.now() : LOOK_AGAIN);
    if (isOurs) this.#forgetFormer(ended.answer);
  }

  async release(): Promise<void> {
    this.#mustBeLive('release');
    if (this.#taken) return this.#drop();
    // As it was before this delivery: a start of our own is taken back, while one that a dead sidecar left must stay. Without
    // this record the delivery would count as an attempt that nobody accounted for.
    await this.#write(this.progress, this.#deliveries - this.unaccounted);
    this.#giveBack(this.#withdrawn ? LOOK_AGAIN : 0);
  }

  async finish(response: ResponseEvent): Promise<void> {
    this.#mustBeLive('finish');
    const winner = await storeResponse(this.#context, this.action, response);
    // A sidecar that died between the letter and its response left a letter for a call that is answered now after all.
    if (winner === 'ours' && this.#hasPast && !isDeadLetter(response.outcome))
      await dropDeadLetter(this.#context, this.action);
    if (this.action.callback !== undefined)
      await ensureCallback(this.#context, this.action, winner === 'ours' ? response : undefined);
    if (this.#owner.publishesCalls)
      await ensurePublished(this.#context, this.action, winner === 'ours' ? response : undefined);
    if (this.action.orderKey !== undefined) await this.#owner.leaveOrder(this.action);
    this.#end(ackBody.ack, true);
    this.#forgetFormer(response.answer);
  }

  /** The body of an earlier answer that another has taken the place of. */
  #forgetFormer(answer: Answer | undefined): void {
    const former = this.progress.answer?.bodyRef;
    if (former === undefined || former.id === answer?.bodyRef?.id) return;
    this.#context.bodies.forget(former).catch(this.#context.report);
  }

  /** Whether the round was ended by somebody else, while this lease was held. */
  async isOver(): Promise<boolean> {
    const { lookup, subjects } = this.#context;
    const { caller, id, round } = this.action;
    const stored = await insist(this.#context, () =>
      lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id)),
    );
    return stored !== undefined && endsRound(decodeResponse(stored.data), round);
  }

  #mustBeLive(method: string): void {
    if (this.#state === 'ended') throw new TypeError(`${method}() on a lease that has ended`);
  }

  #giveBack(delayMs: number): void {
    this.#end(nakBody(delayMs), false);
  }

  #end(body: string, settled: boolean): void {
    this.#state = 'ended';
    this.#owner.acknowledge(this.#reply, body);
    this.#owner.ended(this, settled);
  }

  #drop(): void {
    this.#state = 'ended';
    this.#owner.ended(this, false);
  }

  /** Stores the record unless somebody else has changed it; false then. Goes on through broker failures. */
  async #write(progress: Progress, accounted: number): Promise<boolean> {
    const { publisher, subjects, streams, lookup } = this.#context;
    const { service, id, round } = this.action;
    const subject = subjects.progress(service, id, round);
    const ack = await publisher.publish({
      subject,
      payload: encodeProgress({ progress, accounted, feed: this.#owner.publishesCalls }),
      headers: recordHeaders(this.#record),
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.attempts(service))),
    });
    if (ack.kind === 'stored') {
      this.#record = ack.seq;
      return true;
    }
    if (!ack.resent) return false;
    // The other who was first may be an earlier send of this very record.
    const stored = await insist(this.#context, () => lookup.last(subjects.attemptStream(service), subject));
    if (stored === undefined) return false;
    const found = decodeProgress(stored.data).progress;
    const ours =
      found.started?.instance === progress.started?.instance &&
      found.started?.at === progress.started?.at &&
      found.notBefore === progress.notBefore &&
      found.attempts.length === progress.attempts.length;
    if (ours) this.#record = stored.seq;
    return ours;
  }
}
