/** A call that waits in the queue of its order key. */
export interface Queued {
  readonly seq: number;
  readonly caller: string;
  readonly id: string;
  /** Ms since the epoch. */
  deadline: number;
}

/**
 * What is known of the calls that wait in order, by order token: without it, finding the next of a key would have the server read
 * through all that wait for others. It may still hold calls that are gone; it lacks none of those before `next`.
 */
export class OrderIndex {
  readonly #queues = new Map<string, Queued[]>();
  /** Every message before this sequence that is still there is known. */
  next = 1;
  /** Calls behind the first of their key. */
  waiting = 0;

  /** Adds a call behind those that are known; false where it is the first of its key. */
  add(order: string, call: Queued): boolean {
    const queue = this.#queues.get(order);
    if (queue === undefined) {
      this.#queues.set(order, [call]);
      return false;
    }
    queue.push(call);
    this.waiting++;
    return true;
  }

  first(order: string): Queued | undefined {
    return this.#queues.get(order)?.[0];
  }

  /** Forgets the first of a key, where it is the one with this sequence. */
  drop(order: string, seq: number): void {
    const queue = this.#queues.get(order);
    if (queue?.[0]?.seq !== seq) return;
    queue.shift();
    if (queue.length === 0) this.#queues.delete(order);
    else this.waiting--;
  }

  clear(next: number): void {
    this.#queues.clear();
    this.waiting = 0;
    this.next = next;
  }

  /** The keys, in the order in which they were met; may be read on while others come and go. */
  orders(): MapIterator<string> {
    return this.#queues.keys();
  }

  /** Calls behind the first of their key whose deadline has passed, `limit` at most. */
  overdue(now: number, limit: number): { readonly order: string; readonly call: Queued }[] {
    const found: { order: string; call: Queued }[] = [];
    for (const [order, queue] of this.#queues) {
      for (let at = 1; at < queue.length; at++) {
        const call = queue[at]!;
        if (call.deadline > now) continue;
        found.push({ order, call });
        if (found.length >= limit) return found;
      }
    }
    return found;
  }
}
