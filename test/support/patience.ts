/**
 * How much longer than stated a test may wait: the number in HOLDLINE_PATIENCE, 1 without it.
 * A slow machine needs patience, not other tests.
 */
export function patience(): number {
  const text = process.env['HOLDLINE_PATIENCE'] ?? '1';
  const factor = Number(text);
  if (!(factor > 0)) throw new TypeError(`HOLDLINE_PATIENCE must be a number over 0, not "${text}"`);
  return factor;
}

/**
 * The promise's own outcome, if it comes in time.
 * @param ms the limit in ms, as it is (the caller multiplies by the patience).
 * @throws Error with `message` when the time is over; the promise's later outcome is then nobody's.
 */
export async function within<T>(promise: Promise<T>, ms: number, message: string): Promise<T> {
  const over = Promise.withResolvers<never>();
  const timer = setTimeout(() => over.reject(new Error(message)), ms);
  try {
    return await Promise.race([promise, over.promise]);
  } finally {
    clearTimeout(timer);
  }
}
