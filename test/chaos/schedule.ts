import { chance } from './random.ts';

/** Every kind of fault: what it hits, how long it lasts (ms), and what it is. */
export const faults = {
  kill: { hits: ['sidecar', 'service', 'caller', 'broker'], lasts: [200, 4_000], is: 'kill -9, started again' },
  pause: { hits: ['sidecar', 'service', 'caller', 'broker'], lasts: [300, 7_000], is: 'SIGSTOP, SIGCONT' },
  down: { hits: ['service', 'broker'], lasts: [500, 8_000], is: 'a service or the broker is stopped, started again' },
  away: { hits: ['subscriber'], lasts: [0, 0], is: 'a subscriber is stopped for half of the run, once' },
  slow: { hits: ['service'], lasts: [1_000, 6_000], is: 'the service takes its time' },
  hang: { hits: ['service'], lasts: [1_000, 5_000], is: 'the service takes longer than an attempt may' },
  reset: { hits: ['service'], lasts: [500, 4_000], is: 'the service resets connections after it has executed' },
  'reset-before': { hits: ['service'], lasts: [500, 4_000], is: 'the service resets connections and does nothing' },
  unavailable: { hits: ['service'], lasts: [500, 4_000], is: 'the service answers 503' },
  'retry-after': { hits: ['service'], lasts: [500, 4_000], is: 'the service answers 503 with Retry-After' },
  cut: {
    hits: ['link', 'side'],
    lasts: [300, 6_000],
    is: 'a sidecar’s, or a side’s, connections to the broker are reset',
  },
  stall: {
    hits: ['link', 'side'],
    lasts: [300, 8_000],
    is: 'no byte passes between a sidecar, or a side, and the broker',
  },
  deaf: { hits: ['link', 'side'], lasts: [300, 8_000], is: 'no byte passes from the broker to a sidecar, or a side' },
  lock: { hits: ['database'], lasts: [300, 6_000], is: 'another process holds the database’s write lock' },
  leader: { hits: ['cluster'], lasts: [500, 6_000], is: 'the node that leads is killed -9, started again' },
  lost: { hits: ['cluster'], lasts: [0, 0], is: 'the node that leads is killed for good, once in a run' },
  full: { hits: ['disk'], lasts: [1_000, 5_000], is: 'the broker’s disk is full' },
  clock: { hits: ['clock'], lasts: [500, 8_000], is: 'a sidecar’s wall clock jumps by up to half a minute, and back' },
  rolling: { hits: ['fleet'], lasts: [0, 0], is: 'every sidecar is restarted by SIGTERM, one after another' },
  reload: { hits: ['sidecar'], lasts: [500, 3_000], is: 'another configuration is loaded, then the old one' },
} as const satisfies Record<string, { hits: readonly TargetKind[]; lasts: readonly [number, number]; is: string }>;

export type FaultName = keyof typeof faults;
export type TargetKind =
  | 'sidecar'
  | 'service'
  | 'subscriber'
  | 'caller'
  | 'broker'
  | 'cluster'
  | 'link'
  | 'side'
  | 'clock'
  | 'database'
  | 'disk'
  | 'fleet';

/** What faults can hit. */
export interface Target {
  readonly name: string;
  readonly kind: TargetKind;
  /** Targets that must be well while this one is hit, such as the process behind a link. */
  readonly involves?: readonly string[];
  /** After a fault it is left alone for this long, ms. */
  readonly recovery?: number;
}

/** One fault of a schedule; times in ms from its beginning. */
export interface Fault {
  readonly name: FaultName;
  readonly target: string;
  readonly at: number;
  readonly lasts: number;
  /** By how much a clock jumps, ms. */
  readonly by?: number;
}

/** What is drawn more often than once: crashes are what a promise is for. */
const weights: Partial<Record<FaultName, number>> = { kill: 4, pause: 2, leader: 2 };
/** After a fault its target is left alone for this long where it does not say otherwise, ms. */
const usualRecovery = 1_500;
/** A rolling restart takes about this long, ms; it cannot be known before. */
const rollingTakes = 15_000;
/** A clock jumps by up to this in either direction, ms. */
const furthestJump = 30_000;
/** Leases outlive short pauses; now and then a process sleeps for longer than any lease, in runs that have the time, ms. */
const longPause = [33_000, 42_000] as const;
const timeForLongPause = 150_000;
/** So many are tried where the first choice is still hit by an earlier fault. */
const candidatesPerMoment = 4;
/** The time for which a subscriber is away, in parts of the span. */
const absence = { from: 0.02, for: [0.4, 0.6] } as const;
/** Of the span of a run, this much at its end is free of new faults, ms. */
const calm = 1_000;

/**
 * A schedule of faults, several at a time but only one at a time for a target.
 * @param span how long faults may last from the beginning, ms
 */
export function schedule(seed: string, names: readonly FaultName[], targets: readonly Target[], span: number): Fault[] {
  const dice = chance(`faults/${seed}`);
  const possible = names
    .filter((name) => name !== 'lost' && name !== 'away')
    .map((name) => ({
      name,
      targets: targets.filter(({ kind }) => (faults[name].hits as readonly string[]).includes(kind)),
    }))
    .filter((entry) => entry.targets.length > 0)
    .flatMap((entry) => Array.from({ length: weights[entry.name] ?? 1 }, () => entry));
  const busyUntil = new Map<string, number>();
  const plan: Fault[] = [];
  const subscriber = names.includes('away') ? targets.find(({ kind }) => kind === 'subscriber') : undefined;
  if (subscriber) {
    const at = Math.round(absence.from * span);
    const lasts = Math.round(dice.between(...absence.for) * span);
    plan.push({ name: 'away', target: subscriber.name, at, lasts });
    busyUntil.set(subscriber.name, at + lasts + usualRecovery);
  }
  let loss = names.includes('lost') ? targets.find(({ kind }) => kind === 'cluster') : undefined;
  for (let at = dice.between(500, 2_000); at < span - calm; at += dice.between(250, 2_200)) {
    const free = (target: Target) =>
      ![target.name, ...(target.involves ?? [])].some((name) => (busyUntil.get(name) ?? 0) > at);
    if (loss && at > span / 2 && free(loss)) {
      plan.push({ name: 'lost', target: loss.name, at: Math.round(at), lasts: 0 });
      busyUntil.set(loss.name, at + (loss.recovery ?? usualRecovery));
      loss = undefined;
      continue;
    }
    for (let tries = 0; tries < candidatesPerMoment && possible.length > 0; tries++) {
      const { name, targets: candidates } = dice.pick(possible);
      const target = dice.pick(candidates);
      const lasts = Math.min(Math.round(length(name, dice, span)), Math.max(0, Math.round(span - at)));
      if (!free(target)) continue;
      const over = at + (name === 'rolling' ? rollingTakes : lasts) + (target.recovery ?? usualRecovery);
      for (const other of [target.name, ...(target.involves ?? [])]) busyUntil.set(other, over);
      const by = name === 'clock' ? { by: Math.round(dice.between(-furthestJump, furthestJump)) } : {};
      plan.push({ name, target: target.name, at: Math.round(at), lasts, ...by });
      break;
    }
  }
  return plan;
}

function length(name: FaultName, dice: ReturnType<typeof chance>, span: number): number {
  const [min, max] = faults[name].lasts;
  if (name === 'pause' && span >= timeForLongPause && dice.next() < 0.08) return dice.between(...longPause);
  // Most are short: squared, the chance leans to the lower end.
  return min + (max - min) * dice.next() ** 2;
}
