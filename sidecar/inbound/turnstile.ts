import { fullBucket, takeToken, type Bucket, type Rate } from '../policy/rate.ts';

/**
 * Lets attempts through at a rate, first come, first served. However many wait, one timer runs.
 * Without a rate everyone passes at once.
 */
export class Turnstile<T> {
  readonly #pass: (waiting: T) => void;
  readonly #queue: T[] = [];
  #rate: Rate | undefined;
  #bucket: Bucket = { tokens: 0, at: 0 };
  #timer: NodeJS.Timeout | undefined;

  /** @param pass called for each one whose turn it is; must not throw */
  constructor(rate: Rate | undefined, pass: (waiting: T) => void) {
    this.#pass = pass;
    this.setRate(rate);
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** How many more may sensibly queue: about a quarter of a second's worth. The others are better off elsewhere. */
  get room(): number {
    if (this.#rate === undefined) return Number.POSITIVE_INFINITY;
    return Math.max(0, Math.ceil((this.#rate.count / this.#rate.perMs) * 250) + 1 - this.#queue.length);
  }

  setRate(rate: Rate | undefined): void {
    if (rate?.count === this.#rate?.count && rate?.perMs === this.#rate?.perMs) return;
    this.#rate = rate;
    if (rate !== undefined) this.#bucket = fullBucket(rate, performance.now());
    this.#turn();
  }

  enter(item: T): void {
    if (this.#rate === undefined) return this.#pass(item);
    this.#queue.push(item);
    if (this.#timer === undefined) this.#turn();
  }

  /** Takes everyone out of the queue. */
  empty(): T[] {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    return this.#queue.splice(0);
  }

  #turn(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while (this.#queue.length > 0) {
      if (this.#rate !== undefined) {
        const { bucket, wait } = takeToken(this.#bucket, this.#rate, performance.now());
        this.#bucket = bucket;
        if (wait > 0) {
          this.#timer = setTimeout(() => this.#turn(), wait);
          return;
        }
      }
      this.#pass(this.#queue.shift()!);
    }
  }
}
