/** A source of chance that a seed repeats. */
export interface Chance {
  /** From 0 up to, but without, 1. */
  next(): number;
  /** From `min` to `max`, without `max`. */
  between(min: number, max: number): number;
  /** One of them. @throws RangeError when there is none. */
  pick<T>(from: readonly T[]): T;
  /** One of the names, by weight. */
  weighted<K extends string>(weights: Readonly<Record<K, number>>): K;
}

/** The same seed gives the same sequence (mulberry32 over an FNV-1a hash of the seed's text). */
export function chance(seed: string): Chance {
  let state = 0x81_1c_9d_c5;
  for (let i = 0; i < seed.length; i++) state = Math.imul(state ^ seed.charCodeAt(i), 0x01_00_01_93);
  const next = () => {
    state = (state + 0x6d_2b_79_f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    between: (min, max) => min + next() * (max - min),
    pick(from) {
      const chosen = from[Math.floor(next() * from.length)];
      if (chosen === undefined) throw new RangeError('nothing to choose from');
      return chosen;
    },
    weighted(weights) {
      const entries = Object.entries(weights) as [keyof typeof weights, number][];
      let rest = next() * entries.reduce((sum, [, weight]) => sum + weight, 0);
      for (const [name, weight] of entries) {
        rest -= weight;
        if (rest < 0) return name;
      }
      throw new RangeError('nothing to choose from');
    },
  };
}
