import type { Engine } from './broker.ts';
import type { Counts, Verdict } from './checker.ts';
import type { HistoryEvent } from './history.ts';
import type { Violation } from './rules.ts';
import type { Fault } from './schedule.ts';

/** What came of one run. */
export interface Outcome {
  readonly engine: Engine;
  readonly seed: number;
  /** `failed`: the run did not get as far as a verdict; `skipped`: it was not begun. */
  readonly verdict: 'held' | 'broken' | 'failed' | 'skipped';
  /** How long it took, s. */
  readonly seconds: number;
  readonly result?: Verdict;
  readonly failure?: string;
}

const columns = [
  'intents',
  'acknowledged',
  'answered',
  'executed',
  'repeated',
  'cancelled',
  'doubled',
  'lost',
  'published',
  'delivered',
  'redelivered',
  'withheld',
  'reported',
  'told',
] as const;

/** A table with a line for each run, and their sum. */
export function table(outcomes: readonly Outcome[]): string {
  const judged = outcomes.flatMap(({ result }) => result?.counts ?? []);
  const sum = (name: (typeof columns)[number]) => judged.reduce((total, counts) => total + counts[name], 0);
  const lines = outcomes.map(({ engine, seed, seconds: took, result, verdict }) => [
    `${engine} ${seed}`,
    `${took} s`,
    ...(result ? cells(result.counts) : columns.map(() => '-')),
    ...(result ? [lettersOf(result.counts), wait(result.counts)] : ['-', '-']),
    verdict,
  ]);
  const letters: Record<string, number> = {};
  for (const { deadLetters } of judged) {
    for (const [reason, number] of Object.entries(deadLetters)) letters[reason] = (letters[reason] ?? 0) + number;
  }
  const total = [
    'all',
    `${outcomes.reduce((all, { seconds: took }) => all + took, 0)} s`,
    ...columns.map((name) => String(sum(name))),
    lettersOf({ deadLetters: letters }),
    wait({ longestWait: Math.max(0, ...judged.map(({ longestWait }) => longestWait)) }),
    `${outcomes.filter(({ verdict }) => verdict === 'held').length} of ${outcomes.length} held`,
  ];
  const rows = [['run', 'took', ...columns, 'dead letters', 'longest wait', 'verdict'], ...lines, total];
  const widths = rows[0]!.map((_, index) => Math.max(...rows.map((row) => row[index]?.length ?? 0)));
  return rows.map((row) => row.map((cell, index) => cell.padEnd(widths[index] ?? 0)).join('  ')).join('\n');
}

/** The outcomes for programs. */
export function report(outcomes: readonly Outcome[]): string {
  const runs = outcomes.map(({ engine, seed, verdict, seconds: took, result, failure }) => ({
    broker: engine,
    seed,
    verdict,
    seconds: took,
    ...(result && { counts: result.counts, violations: result.violations }),
    ...(failure !== undefined && { failure }),
  }));
  return `${JSON.stringify({ runs }, undefined, 2)}\n`;
}

function cells(counts: Counts): string[] {
  return columns.map((name) => String(counts[name]));
}

function lettersOf({ deadLetters }: Pick<Counts, 'deadLetters'>): string {
  return (
    Object.entries(deadLetters)
      .map(([reason, number]) => `${reason} ${number}`)
      .join(', ') || 'none'
  );
}

function wait({ longestWait }: Pick<Counts, 'longestWait'>): string {
  return `${(longestWait / 1000).toFixed(1)} s`;
}

/** The verdict in a few lines. */
export function summary({ counts, violations }: Verdict): string {
  const { deadLetters: _letters, longestWait: _wait, ...plain } = counts;
  const numbers = Object.entries(plain).map(([name, number]) => `${name} ${number}`);
  return [
    numbers.join(', '),
    `dead letters: ${lettersOf(counts)}; longest wait ${wait(counts)}`,
    violations.length === 0 ? 'VERDICT: nothing lost, nothing doubled' : `VERDICT: ${violations.length} violations`,
  ].join('\n');
}

/** Written when all is over. */
const closing: ReadonlySet<string> = new Set(['listed', 'letter', 'replayed', 'undelivered', 'redelivered']);

/** One violation with the whole history of its call and intent, and the faults around it. */
export function story(violation: Violation, history: readonly HistoryEvent[], begin: number): string {
  const { rule, what, token, call, event: id } = violation;
  const own = history.filter(
    (event) =>
      (token !== undefined && 'token' in event && event.token === token) ||
      (call !== undefined && 'call' in event && event.call === call) ||
      (call !== undefined && 'delivery' in event && event.delivery === call) ||
      (id !== undefined && 'event' in event && event.event === id),
  );
  // The look-ups at the end of a run would bring all of its faults into every story.
  const lively = own.filter(({ type }) => !closing.has(type));
  const working = lively.filter((event) => event.type !== 'answered' || event.token !== undefined);
  const [from = 0, to = 0] = [own.at(0)?.at, (working.at(-1) ?? own.at(-1))?.at];
  const around = history.filter((event) => event.type === 'fault' && event.at > from - 8_000 && event.at < to + 1_000);
  const lines = [...own, ...around].toSorted((a, b) => a.at - b.at).map((event) => line(event, begin));
  return [`${rule}: ${what}`, `  token ${token ?? '-'}, call ${call ?? '-'}, event ${id ?? '-'}`, ...lines].join('\n');
}

/** A schedule for people. */
export function planText(plan: readonly Fault[]): string {
  return plan
    .map(({ at, lasts, name, target, by }) => {
      const jump = by === undefined ? '' : ` by ${seconds(by)}`;
      return `  ${seconds(at)} ${name.padEnd(13)} ${target.padEnd(22)} ${seconds(lasts)}${jump}`;
    })
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
