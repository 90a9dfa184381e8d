import type { IncomingMessage } from 'node:http';

/** What arrived under one key: `received` counts request heads, `executed` those whose body was read to its end. */
export interface Entry {
  received: number;
  executed: number;
}

/** Counts per key, so that a test can tell "asked once" from "done twice". */
export class Ledger {
  readonly #entries = new Map<string, Entry>();

  /** The entry of a key, made when it is new. */
  of(key: string): Entry {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      entry = { received: 0, executed: 0 };
      this.#entries.set(key, entry);
    }
    return entry;
  }

  /** Everything, by key. */
  all(): Record<string, Entry> {
    return Object.fromEntries(this.#entries);
  }

  /** Forgets everything. */
  clear(): void {
    this.#entries.clear();
  }
}

/** What a request is counted under: its `X-Key`, else its `Idempotency-Key`, else `-`. */
export function keyOf(request: IncomingMessage): string {
  const { 'x-key': own, 'idempotency-key': idempotencyKey } = request.headers;
  if (typeof own === 'string') return own;
  return typeof idempotencyKey === 'string' ? idempotencyKey : '-';
}
