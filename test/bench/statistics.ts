/** The value below which the given part (0 to 1) of the ascending values lies (nearest rank); NaN of none. */
export function percentile(ascending: readonly number[], part: number): number {
  return ascending[Math.max(Math.ceil(part * ascending.length) - 1, 0)] ?? Number.NaN;
}

/** The middle value, or the mean of the middle two; NaN of none. */
export function median(values: readonly number[]): number {
  const ascending = values.toSorted((a, b) => a - b);
  const half = ascending.length / 2;
  const upper = ascending[Math.floor(half)] ?? Number.NaN;
  return Number.isInteger(half) ? (upper + (ascending[half - 1] ?? Number.NaN)) / 2 : upper;
}
