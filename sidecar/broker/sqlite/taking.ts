import type { ActionEvent } from '../../model/call.ts';
import { decodeAction } from '../../model/codec.ts';
import type { TakeOptions, Taking } from '../port.ts';
import { SqliteLease, type LeaseOwner } from './lease.ts';
import type { TakenCall } from './protocol.ts';
import type { DatabaseThread } from './thread.ts';

/** An event that cannot be read is looked at again after this, ms: by then a newer sidecar may be there. */
const unreadableAgainMs = 60_000;

export interface SqliteTakingOptions {
  readonly thread: DatabaseThread;
  /** Tells the takers of one thread apart. */
  readonly number: number;
  /** Or the queue of a subscription. */
  readonly service: string;
  readonly owner: LeaseOwner;
  /** Makes an action event of what is stored. */
  readonly decode?: (event: Uint8Array) => ActionEvent;
}

/** Takes the calls of one service, or the deliveries of one subscription, off the embedded log. */
export class SqliteTaking implements Taking {
  readonly #thread: DatabaseThread;
  readonly #number: number;
  readonly #service: string;
  readonly #options: TakeOptions;
  readonly #owner: LeaseOwner;
  readonly #decode: (event: Uint8Array) => ActionEvent;
  readonly #publishesCalls = () => this.#options.publishCalls?.() === true;
  #received = 0;
  #state: 'paused' | 'running' | 'stopped' = 'paused';

  constructor({ thread, number, service, owner, decode = decodeAction }: SqliteTakingOptions, options: TakeOptions) {
    this.#decode = decode;
    this.#thread = thread;
    this.#number = number;
    this.#service = service;
    this.#options = options;
    this.#owner = owner;
  }

  pause(): void {
    this.#become('paused');
  }

  resume(): void {
    this.#become('running');
  }

  more(): void {
    if (this.#state === 'running') this.#want();
  }

  async stop(): Promise<void> {
    this.#become('stopped');
    await Promise.resolve();
  }

  async backlog(): Promise<{ waiting: number; oldest?: number }> {
    return await this.#thread.ask('backlog', { service: this.#service });
  }

  deliver(calls: readonly TakenCall[]): void {
    this.#received += calls.length;
    for (const call of calls) this.#deliverOne(call);
    // What is free may be less than what was free minus what came, where a rate is kept.
    if (this.#state === 'running') this.#want();
  }

  /** Tells a new thread, which has given nothing yet, what is wanted. */
  wantAgain(): void {
    this.#received = 0;
    this.more();
  }

  #become(state: 'paused' | 'running' | 'stopped'): void {
    if (this.#state === 'stopped') return;
    this.#state = state;
    this.#want();
  }

  #want(): void {
    const free = this.#state === 'running' ? Math.max(0, Math.floor(this.#options.free())) : 0;
    this.#thread.tell({ op: 'want', taker: this.#number, service: this.#service, free, received: this.#received });
  }

  #deliverOne(call: TakenCall): void {
    const { seq, owner } = call;
    let action;
    try {
      action = this.#decode(call.event);
    } catch (cause) {
      this.#options.report(new Error(`an action for ${this.#service} cannot be read`, { cause }));
      const until = Date.now() + unreadableAgainMs;
      this.#thread
        .ask('postpone', { seq, owner, progress: null, body: null, until })
        .catch((error: Error) => this.#options.report(error));
      return;
    }
    const lease = new SqliteLease(this.#thread, this.#owner, action, call, this.#publishesCalls);
    // It was on its way when the taking was paused.
    if (this.#state === 'running') this.#options.deliver(lease);
    else lease.release().catch((error: Error) => this.#options.report(error));
  }
}
