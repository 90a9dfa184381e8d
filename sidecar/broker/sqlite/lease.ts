import type { Link } from '../../collections/linked-list.ts';
import { callbackOf } from '../../http/callback.ts';
import type { ActionEvent, Progress, ResponseEvent } from '../../model/call.ts';
import type { Lease } from '../port.ts';
import { packAction, packCallFeed, packLetter, packProgress, packResponse, unpackProgress } from './packing.ts';
import type { LeaseName, TakenCall } from './protocol.ts';
import type { DatabaseThread } from './thread.ts';

/** Who keeps the leases of this instance. */
export interface LeaseOwner {
  readonly instance: string;
  held(lease: SqliteLease): void;
  ended(lease: SqliteLease): void;
}

/**
 * One action at hand. It is extended by the owner's signs of life, for all leases at once.
 *
 * `held` -> `ended` by the first of the ending methods, or by a `start` that finds the call gone.
 */
export class SqliteLease implements Lease {
  readonly action: ActionEvent;
  readonly progress: Progress;
  readonly unaccounted: number;
  readonly name: LeaseName;
  readonly #thread: DatabaseThread;
  readonly #owner: LeaseOwner;
  readonly #publishesCalls: () => boolean;
  /** Among all leases of the instance; for {@link LeaseOwner}. */
  place: Link<SqliteLease> | undefined;
  #lost: AbortController | undefined;
  #ended = false;

  /** @param publishesCalls finished calls are published, too */
  constructor(
    thread: DatabaseThread,
    owner: LeaseOwner,
    action: ActionEvent,
    call: TakenCall,
    publishesCalls: () => boolean = () => false,
  ) {
    this.#publishesCalls = publishesCalls;
    this.#thread = thread;
    this.#owner = owner;
    this.action = action;
    this.progress = unpackProgress(call);
    this.unaccounted = call.unaccounted;
    this.name = { seq: call.seq, owner: call.owner };
    owner.held(this);
  }

  get lost(): AbortSignal {
    this.#lost ??= new AbortController();
    return this.#lost.signal;
  }

  lose(): void {
    this.#lost ??= new AbortController();
    this.#lost.abort();
  }

  async start(attempt: number): Promise<'started' | 'gone'> {
    this.#expectHeld('start');
    const guarded = !this.action.idempotent;
    const mark = JSON.stringify({ attempt, at: Date.now(), instance: this.#owner.instance });
    const result = await this.#thread.ask('start', { ...this.name, guarded, mark });
    if (result === 'gone') this.#end();
    return result;
  }

  async postpone(progress: Progress, until: number): Promise<void> {
    this.#expectHeld('postpone');
    this.#end();
    await this.#thread.ask('postpone', {
      ...this.name,
      progress: packProgress(progress, this.#publishesCalls()),
      body: progress.answer?.bodyRef?.id ?? null,
      until: Math.ceil(until),
    });
  }

  async release(): Promise<void> {
    this.#expectHeld('release');
    this.#end();
    await this.#thread.ask('release', this.name);
  }

  async finish(response: ResponseEvent): Promise<void> {
    this.#expectHeld('finish');
    this.#end();
    if (this.action.delivery !== undefined) {
      await this.#thread.ask('settle', { ...this.name, id: this.action.id, ...packLetter(this.action, response) });
      return;
    }
    const callback = callbackOf(this.action, response);
    const feed = this.#publishesCalls() ? packCallFeed(this.action, response) : undefined;
    const told = { ...(callback && { callback: packAction(callback) }), ...(feed && { feed }) };
    await this.#thread.ask('finish', { ...this.name, ...packResponse(response), ...told });
  }

  #expectHeld(method: string): void {
    if (this.#ended) throw new TypeError(`${method}() on a lease that has ended`);
  }

  #end(): void {
    this.#ended = true;
    this.#owner.ended(this);
  }
}
