import type { Verdict } from './checker.ts';
import type { HistoryEvent } from './history.ts';
import type { Violation } from './rules.ts';
import type { Fault } from './schedule.ts';

/** The verdict in a few lines. */
export function summary({ counts, violations }: Verdict): string {
  const { deadLetters, longestWait, ...plain } = counts;
  const letters = Object.entries(deadLetters).map(([reason, number]) => `${reason} ${number}`);
  const numbers = Object.entries(plain).map(([name, number]) => `${name} ${number}`);
  return [
    numbers.join(', '),
    `dead letters: ${letters.join(', ') || 'none'}; longest wait ${(longestWait / 1000).toFixed(1)} s`,
    violations.length === 0 ? 'VERDICT: nothing lost, nothing doubled' : `VERDICT: ${violations.length} violations`,
  ].join('\n');
}

/** One violation with the whole history of its call and intent, and the faults around it. */
export function story(violation: Violation, history: readonly HistoryEvent[], begin: number): string {
  const { rule, what, token, call } = violation;
  const own = history.filter(
    (event) =>
      (token !== undefined && 'token' in event && event.token === token) ||
      (call !== undefined && 'call' in event && event.call === call),
  );
  const [from = 0, to = 0] = [own.at(0)?.at, own.at(-1)?.at];
  const around = history.filter((event) => event.type === 'fault' && event.at > from - 8_000 && event.at < to + 1_000);
  const lines = [...own, ...around].toSorted((a, b) => a.at - b.at).map((event) => line(event, begin));
  return [`${rule}: ${what}`, `  token ${token ?? '-'}, call ${call ?? '-'}`, ...lines].join('\n');
}

/** A schedule for people. */
export function planText(plan: readonly Fault[]): string {
  return plan
    .map(({ at, lasts, name, target }) => `  ${seconds(at)} ${name.padEnd(13)} ${target.padEnd(18)} ${seconds(lasts)}`)
    .join('\n');
}

function line({ type, at, ...facts }: HistoryEvent, begin: number): string {
  const text = Object.entries(facts)
    .map(([name, value]) => `${name}=${typeof value === 'object' ? JSON.stringify(value) : String(value)}`)
    .join(' ');
  return `  ${seconds(at - begin)} ${type.padEnd(9)} ${text}`;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(3).padStart(8)} s`;
}
