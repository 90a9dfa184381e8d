/**
 * The gate in front of the local service: whether calls are delivered to it.
 *
 * ```
 *            probe succeeded
 *   closed ───────────────────▶ open
 *     ▲ │                        │
 *     │ └─ probe failed: later   │ health probe failed, or an attempt could not be sent
 *     └──────────────────────────┘
 * ```
 *
 * - Closed at the start, until the first probe succeeds.
 * - While closed, probes come after pauses that double from 100 ms to 2 s (`strikes` counts them).
 * - An opening that no attempt confirmed does not reset the strikes. So where a probe succeeds and the next attempt
 *   fails again, the pauses grow as if the probe had failed, and the two never chase each other.
 * - With a health check, probes go on while open, once per interval; without one, only attempts close the gate.
 * - What an attempt reports counts only for the opening that it belongs to: a connection that took seconds to fail
 *   says nothing of a service that has come back since.
 */
export interface GateState {
  readonly open: boolean;
  /** Why it is as it is, for people. */
  readonly why: string;
  /** How often it opened; attempts carry the number they began under. */
  readonly opening: number;
  /** Failures in a row, of probes and of unconfirmed openings. */
  readonly strikes: number;
}

export type GateEvent =
  | { readonly kind: 'probe-succeeded' }
  | { readonly kind: 'probe-failed'; readonly why: string }
  | { readonly kind: 'not-sent'; readonly opening: number; readonly why: string }
  /** An attempt reached the service, whatever became of it. */
  | { readonly kind: 'reached' };

export interface GateStep {
  readonly state: GateState;
  /** Ms until the next probe, which replaces the one that is due; absent: what is due stays. */
  readonly probeIn?: number;
}

const SHORTEST_PAUSE = 100;
const LONGEST_PAUSE = 2_000;

export const closedAtStart: GateState = Object.freeze({
  open: false,
  why: 'the service has not been reached yet',
  opening: 0,
  strikes: 0,
});

/** @param interval of the health check, ms; undefined without one */
export function step(state: GateState, event: GateEvent, interval: number | undefined): GateStep {
  switch (event.kind) {
    case 'probe-succeeded': {
      const next = state.open
        ? state
        : { ...state, open: true, why: 'the service answers', opening: state.opening + 1 };
      return interval === undefined ? { state: next } : { state: next, probeIn: interval };
    }
    case 'probe-failed':
      return close(state, event.why);
    case 'not-sent':
      return state.open && event.opening === state.opening ? close(state, event.why) : { state };
    case 'reached':
      return { state: state.open && state.strikes > 0 ? { ...state, strikes: 0 } : state };
    default:
      return event satisfies never;
  }
}

function close(state: GateState, why: string): GateStep {
  const strikes = state.strikes + 1;
  return { state: { ...state, open: false, why, strikes }, probeIn: pause(strikes) };
}

/** Ms until the next probe after that many failures in a row. */
export function pause(strikes: number): number {
  return Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** (strikes - 1));
}
