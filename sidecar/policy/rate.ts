/**
 * A token bucket: how often an instance may call its service.
 *
 * The bucket is shallow on purpose. One that holds a whole window's tokens lets twice the rate through in one window
 * (a full bucket, then its refill); this one spreads the calls evenly and allows only as much burst as timers of a
 * few milliseconds need to keep the rate up.
 */
export interface Rate {
  readonly count: number;
  /** ms */
  readonly perMs: number;
}

export interface Bucket {
  readonly tokens: number;
  /** When `tokens` was true, ms. */
  readonly at: number;
}

/** How much burst is allowed, ms of the rate; at least one token. */
const BURST_MS = 20;

/** Tokens that the bucket holds at most. */
export function depth(rate: Rate): number {
  return Math.max(1, (rate.count / rate.perMs) * BURST_MS);
}

export function fullBucket(rate: Rate, now: number): Bucket {
  return { tokens: depth(rate), at: now };
}

/**
 * Takes one token, or tells how long to wait for one.
 *
 * @param now ms, on a clock that does not jump
 * @returns `wait` 0 when the token is taken, else ms until it makes sense to ask again
 */
export function takeToken(bucket: Bucket, rate: Rate, now: number): { bucket: Bucket; wait: number } {
  const perMs = rate.count / rate.perMs;
  const tokens = Math.min(depth(rate), bucket.tokens + Math.max(0, now - bucket.at) * perMs);
  // Sums of fractions fall short of one by less than this.
  if (tokens >= 1 - 1e-9) return { bucket: { tokens: Math.max(0, tokens - 1), at: now }, wait: 0 };
  return { bucket: { tokens, at: now }, wait: Math.max(1, Math.ceil((1 - tokens) / perMs)) };
}
