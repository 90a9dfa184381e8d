import { type FaultMark, record } from './history.ts';

/** How often the harness looks at the clock, and how much later than that it must be for a machine that starves it, ms. */
const every = 200;
const starving = 500;

/**
 * Notes the times at which the machine had no time for this process, as a fault of their own: then it had none for the
 * others either, and what is slow without a fault is no defect of theirs. Returns a function that ends the watch.
 */
export function watchStarvation(file: string): () => void {
  let last = Date.now();
  const timer = setInterval(() => {
    const now = Date.now();
    if (now - last > every + starving) {
      const mark = (at: number, phase: FaultMark['phase']): FaultMark => ({
        type: 'fault',
        at,
        name: 'starved',
        target: 'machine',
        phase,
      });
      record(file, mark(last, 'begin'), mark(now, 'end'));
    }
    last = now;
  }, every);
  return () => clearInterval(timer);
}
