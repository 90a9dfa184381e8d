import type { Evidence, PlayedFault } from './evidence.ts';

type Faults = Evidence['faults'];

/** Faults that leave an attempt without an answer. */
const breaking = ['kill', 'pause', 'down', 'away', 'slow', 'hang', 'reset', 'reset-before', 'starved'];
/** Faults in which a process stands still. */
export const freezing: ReadonlySet<string> = new Set(['pause', 'starved']);
/** By the reason of a dead letter: what can have led to it. Deadlines pass for any reason. */
export const breakingFaults: Readonly<Record<string, ReadonlySet<string>>> = {
  'outcome-unknown': new Set(breaking),
  exhausted: new Set([...breaking, 'unavailable', 'retry-after']),
};
/** A fault can show this long after its end: leases run out, a connection turns out to be dead, ms. */
export const aftermath = 5_000;
/** A process takes its clock for shifted this long after the shift is over, ms. */
const clockLag = 1_000;

/** Which processes an attempt needs, by who is called; what all need is `machine`. */
export const sides = {
  payments: /^(service|payments)-|^machine$/,
  audit: /^(archive|audit-1)$|^machine$/,
  orders: /^(desk|orders-\d)$|^machine$/,
} as const;

/** Whether one of these faults hit one of these processes in that time, or shortly before it. */
export function touched(
  faults: Faults,
  { names, side, from, to }: { names: ReadonlySet<string>; side: RegExp; from: number; to: number },
): boolean {
  return faults.some(
    (fault) => names.has(fault.name) && side.test(fault.target) && fault.from <= to && fault.to + aftermath >= from,
  );
}

/** By how much the clocks may have been apart in this time, ms: a lease on life for what was begun before a jump. */
export function jumps(faults: Faults, from: number, to: number): number {
  return faults
    .filter((fault) => fault.by !== undefined && fault.from <= to && endOf(fault, faults) + clockLag >= from)
    .reduce((sum, { by: jump = 0 }) => sum + Math.abs(jump), 0);
}

/** A clock that is put back while its process stands still goes right only when that goes on. */
function endOf(jump: PlayedFault, faults: Faults): number {
  const still = faults.filter(
    ({ name, target, from, to }) =>
      name === 'pause' && jump.target.startsWith(`${target}’`) && from <= jump.to && to >= jump.to,
  );
  return Math.max(jump.to, ...still.map(({ to }) => to));
}
