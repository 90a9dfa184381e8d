/** How far the two clocks may part before the wall is believed again, ms. */
const drift = 50;

let offset = Date.now() - performance.now();

/**
 * Now, ms since the epoch, in fractions: spans are often shorter than a millisecond. It runs with the clock that only
 * goes forward, and follows the clock on the wall where that is set anew or the machine slept.
 */
export function spanTime(): number {
  const elapsed = performance.now();
  const wall = Date.now();
  if (Math.abs(wall - elapsed - offset) > drift) offset = wall - elapsed;
  return elapsed + offset;
}

/** The same for a moment on the clock of `performance.now()`. */
export function spanTimeOf(elapsed: number): number {
  return elapsed + offset;
}
