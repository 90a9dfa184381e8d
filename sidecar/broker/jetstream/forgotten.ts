import type { ActionEvent, ResponseEvent } from '../../model/call.ts';
import { decodeAction, decodeResponse } from '../../model/codec.ts';
import { consumerConfig } from './consumer.ts';
import type { Context } from './context.ts';
import { copyHeaders } from './envelope.ts';
import type { Stored } from './lookup.ts';
import { endsRound } from './precedence.ts';

/** Between two looks, ms. */
const LOOK_EVERY = 3_000;
/** Messages looked at in one look; the next look goes on from the start, where fewer are left by then. */
const PER_LOOK = 500;

/**
 * Finds actions that the server keeps but will never deliver again.
 *
 * A server that is killed, or whose disk was full, can come back with a consumer that believes messages settled which are still in
 * the stream (research: jetstream.md §3.4, §3.5). On a work queue nothing settled may be left, so whatever stands at or
 * below the consumer's acknowledgement floor in two looks is forgotten: a call that is finished is deleted, one that is
 * not is stored again, behind the others, and its old copy deleted.
 *
 * Where the stream has lost its end, and with it its last numbers, the consumer can be ahead of it: it then lets everything pass
 * that gets one of these numbers again, what is stored now included. Such a consumer is made anew in the second look.
 */
export class ForgottenActions {
  readonly #context: Context;
  readonly #service: string;
  readonly #consumer: string;
  readonly #over: (action: ActionEvent, response: ResponseEvent) => Promise<void>;
  readonly #timer: NodeJS.Timeout;
  /** Sequences that stood below the floor in the last look. */
  #suspects = new Set<number>();
  /** In the last look the consumer had delivered what the stream does not have. */
  #ahead = false;
  #looking = false;

  /** @param over called for an action whose round has ended, before it is deleted */
  constructor(
    context: Context,
    service: string,
    consumer: string,
    over: (action: ActionEvent, response: ResponseEvent) => Promise<void>,
  ) {
    this.#context = context;
    this.#service = service;
    this.#consumer = consumer;
    this.#over = over;
    this.#timer = setInterval(() => {
      this.#tick().catch(context.report);
    }, LOOK_EVERY);
  }

  async #tick(): Promise<void> {
    const { connection, closing, report } = this.#context;
    if (this.#looking || !connection.connected || closing.aborted) return;
    this.#looking = true;
    try {
      await this.#look();
    } catch (error) {
      // The next look is three seconds away, and a broker that is away is told elsewhere.
      if (connection.connected && !closing.aborted) report(error as Error);
    } finally {
      this.#looking = false;
    }
  }

  async #look(): Promise<void> {
    const { streams, subjects, lookup } = this.#context;
    const stream = subjects.actionStream(this.#service);
    const manager = await streams.manager();
    // In this order: what is stored between the two questions must not make a consumer look as if it was ahead.
    const { ack_floor: floor, delivered } = await manager.consumers.info(stream, this.#consumer);
    const { state } = await manager.streams.info(stream);
    const wasAhead = this.#ahead;
    this.#ahead = delivered.stream_seq > state.last_seq;
    if (this.#ahead && wasAhead) {
      await this.#remake(stream);
      return;
    }
    const suspects = new Set<number>();
    if (state.messages > 0 && state.first_seq <= floor.stream_seq) {
      let seq = state.first_seq;
      for (let read = 0; read < PER_LOOK && seq <= floor.stream_seq; read++) {
        const stored = await lookup.at(stream, seq, true);
        if (stored === undefined || stored.seq > floor.stream_seq) break;
        if (this.#suspects.has(stored.seq)) await this.#restore(stream, stored);
        else suspects.add(stored.seq);
        seq = stored.seq + 1;
      }
    }
    this.#suspects = suspects;
  }

  /** What is in the stream stays there; all instances ask for the new consumer as soon as the old one is gone. */
  async #remake(stream: string): Promise<void> {
    this.#ahead = false;
    this.#suspects = new Set();
    this.#context.report(new Error(`the broker had lost the end of ${stream}; its consumer is made anew`));
    const manager = await this.#context.streams.manager();
    await manager.consumers.delete(stream, this.#consumer);
    await manager.consumers.add(stream, consumerConfig);
  }

  async #restore(stream: string, stored: Stored): Promise<void> {
    const { subjects, lookup, streams, publisher, report } = this.#context;
    const action = decodeAction(stored.data);
    const { id, caller, round } = action;
    const answered = await lookup.last(subjects.responseStreamOf(caller, id), subjects.response(caller, id));
    const response = answered === undefined ? undefined : decodeResponse(answered.data);
    if (response !== undefined && endsRound(response, round)) {
      await this.#over(action, response);
    } else {
      report(new Error(`the broker had forgotten call ${id}; it is stored again`));
      await publisher.publish({
        subject: stored.subject,
        payload: stored.data,
        headers: copyHeaders(stored.headers, stored.seq),
        patience: 'now',
        ensureStream: async () => void (await streams.ensure(streams.actions(this.#service))),
      });
      // On a conflict a newer copy is there already.
    }
    await lookup.remove(stream, stored.seq);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
