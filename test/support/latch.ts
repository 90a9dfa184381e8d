import { patience, within } from './patience.ts';

/** A gate that one part of a test waits at until another part opens it, once. */
export interface Latch<T = void> {
  /** Whether the latch has been opened. */
  readonly isOpen: boolean;
  /** Lets everyone pass, now and later. Opening it again changes nothing: the first value stays. */
  open(value: T): void;
  /**
   * Resolves with the value once the latch is open.
   * @param what what is awaited, for the message; without it the wait has no limit of its own.
   * @param timeoutMs the limit in ms where `what` is given, multiplied by the patience. Default 15 000.
   * @throws Error that names `what` when the time is over.
   */
  wait(what?: string, timeoutMs?: number): Promise<T>;
}

/** Makes a closed latch. */
export function createLatch<T = void>(): Latch<T> {
  const { promise, resolve } = Promise.withResolvers<T>();
  let isOpen = false;
  return {
    get isOpen() {
      return isOpen;
    },
    open(value) {
      isOpen = true;
      resolve(value);
    },
    wait(what, timeoutMs = 15_000) {
      if (what === undefined) return promise;
      const limitMs = timeoutMs * patience();
      return within(promise, limitMs, `waited ${limitMs} ms for ${what}`);
    },
  };
}

/** A latch that opens itself when it has been counted down. */
export interface Countdown {
  /** How many are still missing. */
  readonly remaining: number;
  /** Counts one; the last one opens. Counting on afterwards changes nothing. */
  count(): void;
  /** As {@link Latch.wait}. */
  wait(what?: string, timeoutMs?: number): Promise<void>;
}

/** Makes a latch that opens at the `n`-th `count()`; at once when `n` is 0. */
export function countdown(n: number): Countdown {
  const latch = createLatch();
  let remaining = n;
  if (n === 0) latch.open();
  return {
    get remaining() {
      return remaining;
    },
    count() {
      if (remaining > 0 && --remaining === 0) latch.open();
    },
    wait: (what, timeoutMs) => latch.wait(what, timeoutMs),
  };
}
