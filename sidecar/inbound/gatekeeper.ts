import type { InboundConfig } from '../config/config.ts';
import { closedAtStart, step, type GateEvent, type GateState } from '../policy/gate.ts';
import { deliveryChanged } from '../telemetry/channels.ts';
import type { Connections } from './connections.ts';
import { probe } from './probe.ts';
import type { Target } from './target.ts';

/** Where a gatekeeper looks. */
export interface Watched {
  readonly target: Target;
  readonly connections: Connections;
  readonly health: InboundConfig['health'];
}

/** An answer to a health check is awaited as long as the interval, but at least and at most this long, ms. */
const PROBE_LIMIT = { min: 1_000, max: 5_000 };

/** Keeps the gate of `policy/gate.ts`: probes the service when that says so, and tells when the gate moves. */
export class Gatekeeper {
  readonly #service: string;
  readonly #moved: (open: boolean) => void;
  #watched: Watched;
  #state: GateState = closedAtStart;
  #timer: NodeJS.Timeout | undefined;
  #running = false;
  /** A probe that was begun before the next one was set says nothing any more. */
  #current = 0;

  /** @param moved called after the gate opened or closed */
  constructor(service: string, watched: Watched, moved: (open: boolean) => void) {
    this.#service = service;
    this.#watched = watched;
    this.#moved = moved;
  }

  get state(): GateState {
    return this.#state;
  }

  /** Begins to probe. */
  start(): void {
    this.#running = true;
    this.#schedule(0);
  }

  /** Looks elsewhere from now on. The gate stays as it is until the first probe there. */
  watch(watched: Watched): void {
    this.#watched = watched;
    if (this.#running) this.#schedule(0);
  }

  /** An attempt that began under this opening could not be sent. */
  notSent(opening: number, why: string): void {
    this.#apply({ kind: 'not-sent', opening, why });
  }

  reached(): void {
    if (this.#state.strikes > 0) this.#apply({ kind: 'reached' });
  }

  stop(): void {
    this.#running = false;
    this.#current++;
    clearTimeout(this.#timer);
  }

  #schedule(delay: number): void {
    this.#current++;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#probe(), delay);
  }

  #probe(): void {
    const current = this.#current;
    const { target, connections, health } = this.#watched;
    const limit = Math.min(PROBE_LIMIT.max, Math.max(PROBE_LIMIT.min, health?.interval ?? 0));
    probe(target, connections, health, limit).then(
      (result) => {
        if (current !== this.#current) return;
        this.#apply(result.up ? { kind: 'probe-succeeded' } : { kind: 'probe-failed', why: result.why });
      },
      (error: unknown) => {
        if (current === this.#current) this.#apply({ kind: 'probe-failed', why: String(error) });
      },
    );
  }

  #apply(event: GateEvent): void {
    const before = this.#state;
    const { state, probeIn } = step(before, event, this.#watched.health?.interval);
    this.#state = state;
    if (probeIn !== undefined && this.#running) this.#schedule(probeIn);
    const moved = state.open !== before.open;
    // A service that is not there from the start is as worth knowing as one that goes away.
    if ((moved || before === closedAtStart) && deliveryChanged.hasSubscribers) {
      deliveryChanged.publish({ service: this.#service, state: state.open ? 'resumed' : 'paused', why: state.why });
    }
    if (moved) this.#moved(state.open);
  }
}
