import { readFileSync, watchFile } from 'node:fs';

/**
 * Loaded into a sidecar before the program (`node --import`), in each of its threads: a wall clock that a fault can
 * shift. The offset in ms stands in the file that {@link clockVariable} names, so that it outlives kill -9.
 *
 * Within the process this is what a jump of CLOCK_REALTIME is: `Date` jumps, timers and `performance.now()` do not. It
 * shows nothing of a nats-server whose clock jumps: that one has the machine's, which the harness leaves alone.
 */
export const clockVariable = 'HOLDLINE_CHAOS_CLOCK';

/** How soon a shifted clock is noticed, ms. */
const lookEvery = 100;

const file = process.env[clockVariable];
if (file !== undefined) shift(file);

function shift(path: string): void {
  const RealDate = Date;
  const real = RealDate.now;
  let offset = offsetIn(path);
  watchFile(path, { persistent: false, interval: lookEvery }, () => {
    offset = offsetIn(path);
  });
  RealDate.now = () => real() + offset;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [target.now()] : args, newTarget) as Date,
    apply: (target) => new target(target.now()).toString(),
  });
}

function offsetIn(path: string): number {
  try {
    return Number(readFileSync(path, 'utf8')) || 0;
  } catch {
    // Read while it was being written, or not written yet.
    return 0;
  }
}
