import type { CallTable } from './call-table.ts';
import type { SubscriptionTable } from './subscription-table.ts';
import type { Notice, TakenCall } from './protocol.ts';

interface Taker {
  /** Or the queue of a subscription. */
  readonly service: string;
  /** Actions that are wanted now. */
  credit: number;
  /** Actions given so far. */
  taken: number;
}

/** Who takes calls here, of which service, and how many are wanted. */
export class Takers {
  readonly #calls: CallTable;
  readonly #subscriptions: SubscriptionTable;
  readonly #takers = new Map<number, Taker>();
  readonly #onDue: () => void;
  #timer: NodeJS.Timeout | undefined;

  /** @param onDue a postponed call is due */
  constructor(calls: CallTable, subscriptions: SubscriptionTable, onDue: () => void) {
    this.#calls = calls;
    this.#subscriptions = subscriptions;
    this.#onDue = onDue;
  }

  want({ taker: number, service, free, received }: Extract<Notice, { op: 'want' }>): void {
    const taker = this.#takers.get(number) ?? { service, credit: 0, taken: 0 };
    // What was given and has not arrived yet takes slots that the taker still counts as free.
    taker.credit = Math.max(0, free - (taker.taken - received));
    this.#takers.set(number, taker);
  }

  /** The takers that want something which is there. */
  ready(now: number): number[] {
    return [...this.#takers]
      .filter(([, { service, credit }]) => credit > 0 && this.#hasReady(service, now))
      .map(([number]) => number);
  }

  #hasReady(service: string, now: number): boolean {
    if (this.#isEnded(service)) return false;
    return this.#calls.hasReady(service, now) || (service.includes('/') && this.#subscriptions.hasMore(service));
  }

  /** A subscription that its subscriber has ended. */
  #isEnded(queue: string): boolean {
    return queue.includes('/') && this.#subscriptions.isEnded(queue);
  }

  /** Leases what is wanted; within a transaction. Counts only when `given` is told of it. */
  take(numbers: readonly number[], owner: number, now: number): Map<number, TakenCall[]> {
    const taken = new Map<number, TakenCall[]>();
    for (const number of numbers) {
      const taker = this.#takers.get(number);
      if (taker === undefined || this.#isEnded(taker.service)) continue;
      const { service, credit } = taker;
      const calls = this.#calls.take(service, owner, credit, now);
      if (calls.length < credit && service.includes('/')) {
        this.#subscriptions.open(service, credit - calls.length);
        calls.push(...this.#calls.take(service, owner, credit - calls.length, now));
      }
      if (calls.length > 0) taken.set(number, calls);
    }
    return taken;
  }

  given(number: number, count: number): void {
    const taker = this.#takers.get(number);
    if (taker === undefined) return;
    taker.credit -= count;
    taker.taken += count;
  }

  /** Sets the clock for the next postponed call that is wanted. */
  planNext(now: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    let next = Infinity;
    for (const { service, credit } of this.#takers.values()) {
      if (credit <= 0 || this.#isEnded(service)) continue;
      // Many that wait for others in order are opened one portion after another.
      const goesOn = service.includes('/') && this.#subscriptions.hasMore(service);
      next = goesOn ? now : Math.min(next, this.#calls.nextDue(service) ?? Infinity);
      if (goesOn) break;
    }
    // What is due further ahead is found by a later look.
    if (next - now < 60_000) this.#timer = setTimeout(this.#onDue, Math.max(1, next - now));
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#takers.clear();
  }
}
