import { hash, randomFillSync } from 'node:crypto';

const size = 8;

/**
 * Makes trace and span ids. The span of an attempt gets an id that follows from its call and number: where a sidecar died
 * in an attempt, its span died with it, but the callee was told that id already. So whoever finds the attempt out makes a
 * span in its place under the same id, and what the callee did stays joined to the trace.
 */
export class SpanIds {
  readonly #pool = Buffer.alloc(size * 512);
  #used = this.#pool.length;
  #next: string | undefined;

  generateTraceId = (): string => this.#random() + this.#random();

  generateSpanId = (): string => {
    const id = this.#next ?? this.#random();
    this.#next = undefined;
    return id;
  };

  /** The span that is started next, at once, gets this id. */
  useNext(id: string): void {
    this.#next = id;
  }

  #random(): string {
    if (this.#used === this.#pool.length) {
      randomFillSync(this.#pool);
      this.#used = 0;
    }
    const at = this.#used;
    this.#used += size;
    return this.#pool.toString('hex', at, at + size);
  }
}

/** The span id of an attempt. */
export function attemptSpanId(callId: string, attempt: number): string {
  return hash('sha256', `${callId}:${attempt}`, 'hex').slice(0, size * 2);
}
