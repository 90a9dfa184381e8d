import { BrokerUnavailable } from '../port.ts';
import { failureOf } from './failure.ts';
import { effectOf, type Request } from './protocol.ts';
import type { Transactions } from './transaction.ts';

/** Pause before what must not be lost is tried again, ms. */
const retryMs = 250;

type Outcome = { readonly value: unknown } | { readonly error: unknown };

export interface GroupCommitOptions {
  readonly transactions: Transactions;
  /** Takes in what has come in meanwhile, by `add`. */
  readonly drain: () => void;
  /** Does one request, within a transaction. May throw {@link BrokerUnavailable} before it has written anything. */
  readonly apply: (request: Request) => unknown;
  /** Work that joins the transaction, such as taking what the requests have made ready. */
  readonly join: () => { readonly committed: () => void } | undefined;
  readonly committed: (rings: boolean) => void;
  readonly failed: (error: unknown) => void;
  readonly answer: (request: Request, value: unknown) => void;
  readonly refuse: (request: Request, error: unknown) => void;
}

/**
 * Runs writing requests that came in together as one transaction, so that they share one fsync, and answers each after
 * the commit. While a transaction runs the next group comes together by itself.
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #queue: Request[] = [];
  #waiting: Request[] = [];
  #retry: NodeJS.Timeout | undefined;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  add(request: Request): void {
    this.#queue.push(request);
  }

  /** Commits everything that was added. */
  flush(): void {
    if (this.#queue.length === 0) return;
    let group: Request[] | undefined;
    try {
      const { transactions, drain } = this.#options;
      let joined: { readonly committed: () => void } | undefined;
      const durable = () => {
        drain();
        return this.#queue.some((request) => effectOf(request).write === 'durable');
      };
      const outcomes = transactions.run(durable, () => {
        group = this.#takeQueue();
        const done = group.map((request) => this.#apply(request));
        joined = this.#options.join();
        return done;
      });
      this.#settle(group!, outcomes);
      joined?.committed();
    } catch (error) {
      const requests = group ?? this.#takeQueue();
      if (requests.length === 1) this.#settle(requests, [{ error }]);
      // One must not fail the others: of a full file's calls the smaller ones may still fit.
      else for (const request of requests) this.#runAlone(request);
    }
  }

  /** What is waiting to be tried again. */
  get unsettled(): number {
    return this.#waiting.length;
  }

  close(): void {
    clearTimeout(this.#retry);
    this.#waiting = [];
  }

  #runAlone(request: Request): void {
    const durable = effectOf(request).write === 'durable';
    try {
      const outcome = this.#options.transactions.run(
        () => durable,
        () => this.#apply(request),
      );
      this.#settle([request], [outcome]);
    } catch (error) {
      this.#settle([request], [{ error }]);
    }
  }

  /** A refusal leaves the transaction of the others whole. */
  #apply(request: Request): Outcome {
    try {
      return { value: this.#options.apply(request) };
    } catch (error) {
      if (error instanceof BrokerUnavailable) return { error };
      throw error;
    }
  }

  #settle(requests: readonly Request[], outcomes: readonly Outcome[]): void {
    let rings = false;
    let committed = false;
    for (const [index, request] of requests.entries()) {
      const outcome = outcomes[index]!;
      if ('error' in outcome) {
        this.#fail(request, outcome.error);
        continue;
      }
      committed = true;
      rings ||= effectOf(request).rings;
      this.#options.answer(request, outcome.value);
    }
    if (committed) this.#options.committed(rings);
  }

  #fail(request: Request, error: unknown): void {
    if (!(error instanceof BrokerUnavailable)) this.#options.failed(error);
    // Only what SQLite says of the file can change by waiting; anything else is a mistake of this program.
    if (!effectOf(request).kept || failureOf(error) === 'other') {
      this.#options.refuse(request, error);
      return;
    }
    this.#waiting.push(request);
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      this.#queue.push(...this.#waiting);
      this.#waiting = [];
      this.flush();
    }, retryMs);
  }

  #takeQueue(): Request[] {
    const queue = this.#queue;
    this.#queue = [];
    return queue;
  }
}
