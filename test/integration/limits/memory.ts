import { readFileSync, writeFileSync } from 'node:fs';

/** One MB, bytes. */
export const MB = 1024 * 1024;

/** How much more memory a process had at its worst than at the beginning. */
export interface Growth {
  /** Bytes of resident memory since `watchMemory`, at the highest point. */
  peak(): number;
  /** The highest point itself. */
  top(): number;
}

/**
 * Watches the resident memory of a process, by the kernel's own high-water mark, so that no peak is missed between two
 * looks (proc(5), `VmHWM`).
 */
export function watchMemory(pid: number): Growth {
  // Writing 5 sets the high-water mark back to what is resident now.
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
  const before = status(pid, 'VmRSS');
  return { peak: () => status(pid, 'VmHWM') - before, top: () => status(pid, 'VmHWM') };
}

function status(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  const found = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (found === null) throw new Error(`process ${pid} has no ${field}`);
  return Number(found[1]) * 1024;
}
