import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import type { ResponseEvent } from '../../model/call.ts';
import { decodeResponse } from '../../model/codec.ts';
import type { AwaitedResponse } from '../port.ts';
import type { DatabaseThread } from './thread.ts';
import { settlesRound } from './verdict.ts';

interface Entry {
  /** A response of an earlier round is about to be replaced. */
  round: number;
  waiters: ((response: ResponseEvent) => void)[];
}

/** The calls of one caller whose response is awaited here. */
export class AwaitedResponses {
  readonly #thread: DatabaseThread;
  readonly #caller: string;
  readonly #entries = new LinkedHashMap<string, Entry>();

  constructor(thread: DatabaseThread, caller: string) {
    this.#thread = thread;
    this.#caller = caller;
  }

  add(id: string): AwaitedResponse {
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      entry = { round: 1, waiters: [] };
      this.#entries.set(id, entry);
    }
    const added = entry;
    const { promise, resolve } = Promise.withResolvers<ResponseEvent>();
    added.waiters.push(resolve);
    this.#listen(id, added);
    return {
      response: promise,
      release: () => {
        if (!added.waiters.includes(resolve)) return;
        added.waiters = added.waiters.filter((other) => other !== resolve);
        if (added.waiters.length > 0) return;
        if (this.#entries.get(id) !== added) return;
        this.#entries.delete(id);
        this.#thread.tell({ op: 'forget', id, caller: this.#caller });
      },
    };
  }

  /** Responses of rounds before `round` do not answer this call any more. */
  expectRound(id: string, round: number): void {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.round >= round) return;
    entry.round = round;
    this.#listen(id, entry);
  }

  found(id: string, event: Uint8Array): void {
    const entry = this.#entries.get(id);
    if (entry === undefined) return;
    const response = decodeResponse(event);
    if (!settlesRound({ round: response.call.round, outcome: response.outcome }, entry.round)) {
      // It was under way when the next round began.
      this.#listen(id, entry);
      return;
    }
    this.#entries.delete(id);
    const { waiters } = entry;
    entry.waiters = [];
    for (const waiter of waiters) waiter(response);
  }

  /** Tells a new thread what is waited for. */
  listenAgain(): void {
    for (const [id, entry] of this.#entries.entries()) this.#listen(id, entry);
  }

  #listen(id: string, { round }: Entry): void {
    this.#thread.tell({ op: 'await', id, caller: this.#caller, round });
  }
}
