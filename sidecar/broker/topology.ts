import { isDeadLetter, type ResponseEvent } from '../model/call.ts';

/** Who calls whom, and how that goes, as the events tell it. */
export interface Topology {
  /** What rates, errors and latencies are taken from: calls that finished within this time, ms. */
  readonly windowMs: number;
  /** By name. */
  readonly services: readonly TopologyService[];
  /** By names. */
  readonly edges: readonly TopologyEdge[];
}

export interface TopologyService {
  readonly name: string;
  /** Its sidecars that take calls, as far as they can be told. */
  readonly instances: number;
}

/** The calls from one service to another. */
export interface TopologyEdge {
  readonly from: string;
  readonly to: string;
  readonly routes: readonly string[];
  /** Calls that finished in the window; where there are very many, only the newest are counted. */
  readonly finished: number;
  /** Of these: dead letters, and answers with a status of 500 or more. */
  readonly failed: number;
  readonly perSecond: number;
  /** From acceptance to answer, ms; absent where nothing finished. */
  readonly latency?: { readonly p50: number; readonly p99: number };
  /** Calls stored and not finished. */
  readonly waiting: number;
  /** Since when the oldest of these waits, ms since the epoch. */
  readonly oldest?: number;
  readonly deadLetters: number;
}

interface Edge {
  readonly routes: Set<string>;
  readonly latencies: number[];
  failed: number;
  perSecond: number;
  waiting: number;
  oldest: number | undefined;
  deadLetters: number;
}

type Finished = Pick<ResponseEvent, 'call' | 'outcome' | 'finishedAt'> & {
  readonly answer?: { readonly status: number };
};

/** Puts together what an adapter finds. */
export class TopologyMap {
  readonly #now: number;
  readonly #windowMs: number;
  readonly #services = new Map<string, number>();
  readonly #edges = new Map<string, Edge>();

  /** @param now ms since the epoch */
  constructor(now: number, windowMs: number) {
    this.#now = now;
    this.#windowMs = windowMs;
  }

  service(name: string, instances = 0): void {
    this.#services.set(name, (this.#services.get(name) ?? 0) + instances);
  }

  /** @param oldest since when the oldest waits, ms since the epoch */
  waiting(from: string, to: string, count: number, oldest: number | undefined, routes: readonly string[]): void {
    const edge = this.#edge(from, to);
    edge.waiting += count;
    if (oldest !== undefined) edge.oldest = Math.min(edge.oldest ?? oldest, oldest);
    for (const route of routes) edge.routes.add(route);
  }

  deadLetters(from: string, to: string, count: number): void {
    this.#edge(from, to).deadLetters += count;
  }

  /**
   * The newest responses of some callers; those outside of the window are left out.
   * @param whole there are no others in the window; if not, rates are taken over the time that these cover
   */
  finished(responses: readonly Finished[], whole: boolean): void {
    const since = this.#now - this.#windowMs;
    const recent = responses.filter(({ finishedAt, outcome }) => finishedAt >= since && outcome !== 'discarded');
    const isCut = !whole && recent.length === responses.length;
    const first = recent.reduce((least, { finishedAt }) => Math.min(least, finishedAt), this.#now);
    const seconds = Math.max(isCut ? this.#now - first : this.#windowMs, 1) / 1000;
    for (const { call, outcome, answer, finishedAt } of recent) {
      const edge = this.#edge(call.caller, call.service);
      edge.routes.add(call.route);
      edge.perSecond += 1 / seconds;
      edge.latencies.push(Math.max(0, finishedAt - call.acceptedAt));
      if (isDeadLetter(outcome) || (answer?.status ?? 0) >= 500) edge.failed++;
    }
  }

  result(): Topology {
    const services = [...this.#services].map(([name, instances]) => ({ name, instances }));
    const edges = [...this.#edges].map(([key, edge]) => {
      const [from = '', to = ''] = key.split(' ');
      const { routes, latencies, failed, perSecond, waiting, oldest, deadLetters } = edge;
      const sorted = latencies.toSorted((a, b) => a - b);
      return {
        from,
        to,
        routes: [...routes].toSorted(),
        finished: sorted.length,
        failed,
        perSecond,
        ...(sorted.length > 0 && { latency: { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) } }),
        waiting,
        ...(oldest !== undefined && { oldest }),
        deadLetters,
      };
    });
    return {
      windowMs: this.#windowMs,
      services: services.toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      edges: edges.toSorted((a, b) => (`${a.from} ${a.to}` < `${b.from} ${b.to}` ? -1 : 1)),
    };
  }

  #edge(from: string, to: string): Edge {
    this.service(from);
    this.service(to);
    // Names of services have no spaces.
    const key = `${from} ${to}`;
    let edge = this.#edges.get(key);
    if (edge === undefined) {
      edge = {
        routes: new Set(),
        latencies: [],
        failed: 0,
        perSecond: 0,
        waiting: 0,
        oldest: undefined,
        deadLetters: 0,
      };
      this.#edges.set(key, edge);
    }
    return edge;
  }
}

/** The nearest rank. */
function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(q * sorted.length) - 1)] ?? 0;
}
