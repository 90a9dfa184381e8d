import { setTimeout as pause } from 'node:timers/promises';
import { CommandFailed } from './failure.ts';

/**
 * Does something for each id, one after another, in order.
 * @param rate at most so many starts per so many ms, evenly spread; undefined: as fast as it goes
 * @param act says whether there was such an id
 * @throws {CommandFailed} at the first failure, telling how far it came
 */
export async function paced(
  ids: readonly string[],
  rate: { readonly count: number; readonly perMs: number } | undefined,
  act: (id: string) => Promise<boolean>,
): Promise<{ readonly done: readonly string[]; readonly unknown: readonly string[] }> {
  const done: string[] = [];
  const unknown: string[] = [];
  const gap = rate === undefined ? 0 : rate.perMs / rate.count;
  let next = performance.now();
  for (const id of ids) {
    const early = next - performance.now();
    if (early > 0) await pause(early);
    // Counted from the start that was due, so that a slow broker does not make it slower than was asked for; but what
    // was missed by much is not made up for in a burst.
    next = Math.max(next + gap, performance.now());
    try {
      ((await act(id)) ? done : unknown).push(id);
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      throw new CommandFailed(`${why}; ended at ${id}, after ${done.length} of ${ids.length}`, { cause });
    }
  }
  return { done, unknown };
}
