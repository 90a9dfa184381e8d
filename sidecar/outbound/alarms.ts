/** Something to be done at a time, unless it is cancelled first. */
export interface Alarm {
  cancel(): void;
}

/** How exact an alarm is, ms. Holds are seconds long. */
const tick = 50;

/**
 * One timer for everything that waits: ten thousand held calls are ten thousand entries of a few sets, and setting and
 * cancelling one costs a set insertion. An alarm rings at its time or up to two ticks later.
 */
export class Alarms {
  readonly #buckets = new Map<number, Set<Entry>>();
  #last = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param delay ms from now; `ring` must not throw */
  set(delay: number, ring: () => void): Alarm {
    const now = Math.floor(performance.now() / tick);
    // An idle wheel stands still.
    if (this.#timer === undefined) {
      this.#last = now;
      this.#timer = setInterval(() => this.#turn(), tick);
    }
    const at = Math.max(now, Math.floor((performance.now() + delay) / tick)) + 1;
    let bucket = this.#buckets.get(at);
    if (bucket === undefined) {
      bucket = new Set();
      this.#buckets.set(at, bucket);
    }
    const entry = new Entry(bucket, ring);
    bucket.add(entry);
    return entry;
  }

  /** Forgets every alarm. */
  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#buckets.clear();
  }

  #turn(): void {
    const now = Math.floor(performance.now() / tick);
    while (this.#last < now) {
      this.#last++;
      const bucket = this.#buckets.get(this.#last);
      if (bucket === undefined) continue;
      this.#buckets.delete(this.#last);
      for (const entry of bucket) entry.ring();
    }
    if (this.#buckets.size === 0) this.close();
  }
}

class Entry implements Alarm {
  readonly #bucket: Set<Entry>;
  readonly ring: () => void;

  constructor(bucket: Set<Entry>, ring: () => void) {
    this.#bucket = bucket;
    this.ring = ring;
  }

  cancel(): void {
    this.#bucket.delete(this);
  }
}
