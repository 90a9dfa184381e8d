import { LinkedList, type Link } from '../collections/linked-list.ts';

/** Something to be done at a time, unless it is cancelled first. */
export interface Alarm {
  cancel(): void;
}

/** How exact an alarm is, ms. Holds are seconds long. */
const tick = 50;

/**
 * One timer for everything that waits: ten thousand held calls are ten thousand entries of a few lists, and setting and
 * cancelling one costs a link. An alarm rings at its time or up to two ticks later.
 */
export class Alarms {
  readonly #buckets = new Map<number, LinkedList<() => void>>();
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
      bucket = new LinkedList();
      this.#buckets.set(at, bucket);
    }
    return new Entry(bucket.add(ring));
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
      for (let ring = bucket.shift(); ring !== undefined; ring = bucket.shift()) ring();
    }
    if (this.#buckets.size === 0) this.close();
  }
}

class Entry implements Alarm {
  readonly #place: Link<() => void>;

  constructor(place: Link<() => void>) {
    this.#place = place;
  }

  cancel(): void {
    this.#place.remove();
  }
}
