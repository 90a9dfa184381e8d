import { readFileSync } from 'node:fs';

/** A process of a subject. */
export interface Part {
  readonly name: string;
  readonly pid: number;
}

/** What a process has used. */
export interface Usage {
  /** CPU time of all its threads since its start, user and system, in s. */
  readonly cpuSeconds: number;
  /** Resident memory, in bytes. */
  readonly memory: number;
}

/** Linux counts CPU time for user space in 1/100 s on every architecture that Node runs on (proc(5), USER_HZ). */
const ticksPerSecond = 100;

/** What a process has used so far; undefined where there is no /proc. @throws Error when it is gone */
export function usageOf(pid: number): Usage | undefined {
  if (process.platform !== 'linux') return undefined;
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // The command name is in parentheses and may itself hold spaces; the third field (state) comes after it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / ticksPerSecond,
    memory: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024,
  };
}
