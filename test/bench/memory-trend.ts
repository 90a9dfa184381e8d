import { median } from './statistics.ts';

/** How much memory a process had after so many calls. */
export interface Sample {
  readonly calls: number;
  /** Resident memory, in MB (2^20 bytes). */
  readonly memoryMB: number;
}

/** What became of the memory of a process over a run. */
export interface Trend {
  readonly first: number;
  readonly most: number;
  /** The median of the last quarter of the samples. */
  readonly end: number;
  /** How much came with each 100,000 calls of the second half: the slope of the line of least squares, in MB. */
  readonly per100000: number;
  /** Whether the last quarter has clearly more than the quarter before it. */
  readonly grows: boolean;
}

/** Garbage collection makes memory go up and down: medians of quarters are the same within 2 MB, or within 3 %. */
const sameMB = 2;
const samePart = 0.03;

/** Looks at the second half of a run only, since everything grows at first. @param samples at least four */
export function trend(samples: readonly Sample[]): Trend {
  const memory = samples.map(({ memoryMB }) => memoryMB);
  const half = Math.floor(samples.length / 2);
  const last = Math.floor((samples.length * 3) / 4);
  const before = median(memory.slice(half, last));
  const end = median(memory.slice(last));
  return {
    first: memory[0] ?? Number.NaN,
    most: Math.max(...memory),
    end,
    per100000: slope(samples.slice(half)) * 100_000,
    grows: end - before > Math.max(sameMB, samePart * before),
  };
}

/** MB per call; NaN where all samples are after as many calls. */
function slope(samples: readonly Sample[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const calls = mean(samples.map((each) => each.calls));
  const memory = mean(samples.map((each) => each.memoryMB));
  const products = samples.map((each) => (each.calls - calls) * (each.memoryMB - memory));
  const squares = samples.map((each) => (each.calls - calls) ** 2);
  return mean(products) / mean(squares);
}
