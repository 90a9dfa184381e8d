/**
 * The circuit breaker in front of an endpoint of somebody else: one that fails again and again is left alone for a while,
 * and no attempts are spent on it meanwhile.
 *
 * ```
 *            5 failures in a row                    the pause is over
 *   closed ───────────────────────▶ open ──────────────────────────────▶ trying
 *     ▲                              ▲                                    │ │
 *     │                              └── a failure: a pause twice as long ┘ │
 *     └──────────────────────────────── a success ──────────────────────────┘
 * ```
 *
 * While trying, one attempt at a time is made. What an attempt shows counts for the state that it finds at its end: those that were
 * under way when the breaker opened change nothing by failing, and close it by succeeding.
 */
export type BreakerState =
  | { readonly kind: 'closed'; readonly failures: number }
  /** `until`: ms, on the clock of `now`. */
  | { readonly kind: 'open'; readonly trips: number; readonly until: number }
  | { readonly kind: 'trying'; readonly trips: number };

export type BreakerEvent = 'succeeded' | 'failed' | 'pause-over';

const FAILURES = 5;
const SHORTEST_PAUSE = 10_000;
const LONGEST_PAUSE = 600_000;

export const closedBreaker: BreakerState = Object.freeze({ kind: 'closed', failures: 0 });

/** @param now ms */
export function breakerStep(state: BreakerState, event: BreakerEvent, now: number): BreakerState {
  if (event === 'succeeded') return closedBreaker;
  switch (state.kind) {
    case 'closed': {
      if (event !== 'failed') return state;
      const failures = state.failures + 1;
      return failures < FAILURES ? { kind: 'closed', failures } : trip(1, now);
    }
    case 'open':
      return event === 'pause-over' && now >= state.until ? { kind: 'trying', trips: state.trips } : state;
    case 'trying':
      return event === 'failed' ? trip(state.trips + 1, now) : state;
    default:
      return state satisfies never;
  }
}

/** How many attempts may be under way at once. */
export function breakerRoom(state: BreakerState): number {
  if (state.kind === 'closed') return Number.POSITIVE_INFINITY;
  return state.kind === 'trying' ? 1 : 0;
}

function trip(trips: number, now: number): BreakerState {
  return { kind: 'open', trips, until: now + Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** (trips - 1)) };
}
