import type { Context } from './context.ts';

/** How long what was found holds, ms. */
const VALID = 60_000;

/** What is known of the letters and the answers of a caller. */
export interface Ages {
  /** When the oldest dead letter was stored, ms since the epoch by the server's clock; undefined: there is none. */
  readonly oldest: number | undefined;
  /** How long the answer under a key is kept, ms. */
  readonly kept: number;
}

interface Found extends Ages {
  readonly at: number;
}

/**
 * Whether a letter can be older than the answer under its key is kept.
 * @param now ms since the epoch
 */
export function mayOutlive({ oldest, kept }: Ages, now: number): boolean {
  // Half of the time is left for clocks that differ, and for what was found a while ago.
  if (kept / 2 < 2 * VALID) return true;
  return oldest !== undefined && now - oldest > kept / 2;
}

/**
 * Tells whether there can be dead letters that have outlived the answer under their key. Until then the answer says all that the
 * letter does, and a call with a key, which has been looked up already, need not ask for its letter, too.
 */
export class OldLetters {
  readonly #context: Pick<Context, 'streams' | 'subjects'>;
  readonly #caller: string;
  #found: Promise<Found> | undefined;
  #current: Found | undefined;

  constructor(context: Pick<Context, 'streams' | 'subjects' | 'connection'>, caller: string) {
    this.#context = context;
    this.#caller = caller;
    // The server may be another one.
    context.connection.onUp(() => this.#forget());
  }

  /** `false` is certain; letters that come to be in the next minute are young. @throws {Error} the broker does not answer */
  async mayBe(): Promise<boolean> {
    if (this.#current === undefined || performance.now() - this.#current.at > VALID) {
      this.#found ??= this.#look().finally(() => (this.#found = undefined));
      this.#current = await this.#found;
    }
    return mayOutlive(this.#current, Date.now());
  }

  async #look(): Promise<Found> {
    const { streams, subjects } = this.#context;
    const at = performance.now();
    const manager = await streams.manager();
    const [dead, keyed] = await Promise.all([
      manager.streams.info(subjects.deadStream()),
      manager.streams.info(subjects.keyedStream(this.#caller)),
    ]);
    const { messages, first_ts: first } = dead.state;
    return { at, oldest: messages === 0 ? undefined : Date.parse(first), kept: keyed.config.max_age / 1_000_000 };
  }

  #forget(): void {
    this.#current = undefined;
    this.#found = undefined;
  }
}
