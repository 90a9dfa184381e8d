import { breakerRoom, breakerStep, closedBreaker, type BreakerEvent, type BreakerState } from '../policy/breaker.ts';
import { deliveryChanged } from '../telemetry/channels.ts';

/** Keeps the circuit breaker of `policy/breaker.ts` for one endpoint: counts what attempts show, and ends its pauses. */
export class CircuitBreaker {
  readonly #name: string;
  readonly #moved: () => void;
  #state: BreakerState = closedBreaker;
  #timer: NodeJS.Timeout | undefined;

  /** @param moved called after `room` has changed */
  constructor(name: string, moved: () => void) {
    this.#name = name;
    this.#moved = moved;
  }

  /** Attempts that may be under way at once. */
  get room(): number {
    return breakerRoom(this.#state);
  }

  /** Why nothing is delivered; undefined where something is. */
  get why(): string | undefined {
    return this.#state.kind === 'open'
      ? 'the endpoint failed again and again and is left alone for a while'
      : undefined;
  }

  /** An attempt has ended. */
  ended(succeeded: boolean): void {
    this.#apply(succeeded ? 'succeeded' : 'failed');
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #apply(event: BreakerEvent): void {
    const before = this.#state;
    const now = performance.now();
    const state = breakerStep(before, event, now);
    this.#state = state;
    if (state.kind === before.kind) return;
    clearTimeout(this.#timer);
    // Timers may be early by a fraction of a millisecond.
    if (state.kind === 'open') this.#timer = setTimeout(() => this.#apply('pause-over'), state.until - now + 1);
    this.#tell(state);
    this.#moved();
  }

  #tell(state: BreakerState): void {
    if (!deliveryChanged.hasSubscribers || state.kind === 'trying') return;
    const why = this.why ?? 'the endpoint takes deliveries again';
    deliveryChanged.publish({ service: this.#name, state: state.kind === 'open' ? 'paused' : 'resumed', why });
  }
}
