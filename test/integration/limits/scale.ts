import { MB } from './memory.ts';

/**
 * How many of everything. The suite runs what shows the limit in seconds; `HOLDLINE_SCALE=full` runs the numbers that are
 * promised (`npm run test:limits`, some minutes).
 */
export interface Scale {
  /** Callers that are held at once. */
  readonly held: number;
  /** Calls that wait for a callee that is down. */
  readonly waiting: number;
  /** At which they are delivered afterwards, calls per second. */
  readonly rate: number;
  /** Calls with large bodies, and callers that read large answers slowly. */
  readonly large: number;
  /** Bodies both ways of calls that are all made at the same time, bytes each. */
  readonly bulk: readonly { readonly calls: number; readonly size: number }[];
  /** Broadcast events. */
  readonly events: number;
  /** When a test of this size is given up, ms. */
  readonly timeout: number;
}

const scales: Readonly<Record<'quick' | 'full', Scale>> = {
  quick: {
    held: 1_000,
    waiting: 1_000,
    rate: 400,
    large: 200,
    bulk: [{ calls: 20, size: 3 * MB }],
    events: 150,
    timeout: 120_000,
  },
  full: {
    held: 10_000,
    waiting: 10_000,
    rate: 1_000,
    large: 1_000,
    bulk: [
      { calls: 20, size: 100 * MB },
      { calls: 1, size: 1024 * MB },
    ],
    events: 5_000,
    timeout: 900_000,
  },
};

/** @throws TypeError for a `HOLDLINE_SCALE` that is none */
function chosenScale(): Scale {
  const name = process.env['HOLDLINE_SCALE'] ?? 'quick';
  if (name !== 'quick' && name !== 'full') throw new TypeError(`HOLDLINE_SCALE must be quick or full, not "${name}"`);
  return scales[name];
}

export const scale: Scale = chosenScale();
