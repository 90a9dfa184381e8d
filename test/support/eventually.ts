import { setTimeout as pause } from 'node:timers/promises';
import { patience, within } from './patience.ts';

/** What is awaited and for how long. */
export interface EventuallyOptions {
  /** What is awaited, as the end of "waited for …"; the failure message starts with it. */
  readonly what: string;
  /** How long to go on, in ms, multiplied by the patience. Default 15 000. */
  readonly timeoutMs?: number;
  /** The pause between two tries, in ms. Default 20. */
  readonly intervalMs?: number;
  /** Says why waiting on is pointless, such as a process that has ended; undefined while there is hope. */
  readonly pointless?: () => string | undefined;
}

/**
 * Calls `check` until it neither throws nor rejects, and returns its result.
 *
 * The condition is the synchronisation and the pause only bounds the load of asking, so a test never depends on
 * how long something takes. A try that has not settled when the time is over counts as failed.
 *
 * @throws Error that names what was awaited, with the last failure as its cause.
 */
export async function eventually<T>(check: () => T | Promise<T>, options: EventuallyOptions): Promise<T> {
  const limitMs = (options.timeoutMs ?? 15_000) * patience();
  const deadline = performance.now() + limitMs;
  for (let tries = 1; ; tries++) {
    try {
      const attempt = (async () => check())();
      return await within(attempt, Math.max(deadline - performance.now(), 0), 'the try has not settled');
    } catch (cause) {
      const failure = cause instanceof Error ? cause.message : String(cause);
      const reason = options.pointless?.();
      if (reason !== undefined) throw new Error(`waited for ${options.what}, but ${reason}`, { cause });
      if (performance.now() >= deadline) {
        throw new Error(
          `waited ${Math.round(limitMs)} ms for ${options.what}: ${tries} tries, last failure: ${failure}`,
          { cause },
        );
      }
    }
    await pause(options.intervalMs ?? 20);
  }
}
