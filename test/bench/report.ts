import type { Machine } from './command.ts';
import { againstRestate, type Result, type Results } from './results.ts';

/** A table in Markdown; every column but the first is right-aligned. */
export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((title, column) => Math.max(...[head, ...rows].map((row) => (row[column] ?? '').length), 3));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, column) => (column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0))).join(' | ')} |`;
  const rule = `| ${widths.map((width, column) => (column === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`)).join(' | ')} |`;
  return [line(head), rule, ...rows.map(line)].join('\n');
}

/** Three significant digits at most; a dash for what was not measured. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return '–';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** What was measured, as Markdown: ratios and latencies, then what each process took. */
export function describe({ results, measurements, machine, seconds, rounds }: Results): string {
  const counts = [...new Set(results.map(({ connections }) => connections))];
  const sections = counts.map((count) => {
    const rows = results.filter(({ connections }) => connections === count);
    return `Connections: ${count}\n\n${speeds(rows)}`;
  });
  const rivals = againstRestate(measurements);
  return [
    `${describeMachine(machine)}; medians of ${rounds} alternating rounds of ${seconds} s each.`,
    ...sections,
    ...(rivals.length > 0 ? [`Against Restate\n\n${rivalry(rivals)}`] : []),
    ...alike(results).map(
      (group) => `CPU seconds for 1,000 calls, and memory in MB, of each process\n\n${processes(group)}`,
    ),
  ].join('\n\n');
}

/** What it was measured on, in a line. */
export function describeMachine({ cpus, model, system, node }: Machine): string {
  return `${cpus} × ${model}, ${system}, Node ${node}`;
}

/** Subjects that were measured at the same numbers of connections go into one table, so that none has empty columns. */
function alike(results: readonly Result[]): readonly (readonly Result[])[] {
  const countsOf = (name: string) =>
    results.flatMap((each) => (each.subject === name ? [each.connections] : [])).join();
  return [...Map.groupBy(results, ({ subject }) => countsOf(subject)).values()];
}

function rivalry(rivals: ReturnType<typeof againstRestate>): string {
  return table(
    ['subject, connections', 'calls/s to those of Restate', 'p50 to that of Restate'],
    rivals.map(({ subject, connections, perSecond, p50 }) => [
      `${subject}, ${connections}`,
      figure(perSecond),
      figure(p50),
    ]),
  );
}

function speeds(rows: readonly Result[]): string {
  const head = ['subject', 'calls/s', 'ratio', 'p50 ms', 'ratio', 'p99 ms', 'ratio', 'against'];
  return table(
    head,
    rows.map(({ subject, perSecond, ratio, p50, p99, against, drainSeconds }) => [
      drainSeconds >= 0.05 ? `${subject} (carried out ${drainSeconds.toFixed(1)} s after)` : subject,
      figure(perSecond),
      figure(ratio.perSecond),
      figure(p50),
      figure(ratio.p50),
      figure(p99),
      figure(ratio.p99),
      against,
    ]),
  );
}

function processes(results: readonly Result[]): string {
  const counts = [...new Set(results.map(({ connections }) => connections))];
  const names = [...new Set(results.map(({ subject }) => subject))];
  const head = ['subject, process', ...counts.flatMap((count) => [`CPU at ${count}`, `MB at ${count}`])];
  const rows = names.flatMap((name) => {
    const own = results.filter(({ subject }) => subject === name);
    return (own[0]?.parts ?? []).map((part, index) => [
      `${name}, ${part.name}`,
      ...counts.flatMap((count) => {
        const used = own.find(({ connections }) => connections === count)?.parts[index];
        return [figure(used?.cpuPer1000 ?? Number.NaN), figure(used?.memoryMB ?? Number.NaN)];
      }),
    ]);
  });
  return table(head, rows);
}

/** How the ratios have moved since an earlier run; the machines may differ, as only ratios are compared. */
export function comparison(earlier: Results, now: Results): string {
  const rows = now.results.flatMap((result) => {
    const before = earlier.results.find(
      ({ subject, connections }) => subject === result.subject && connections === result.connections,
    );
    if (before === undefined) return [];
    const moved = (value: (of: Result) => number) => [
      figure(value(before)),
      figure(value(result)),
      `${figure((value(result) / value(before)) * 100)} %`,
    ];
    return [
      [
        `${result.subject}, ${result.connections}`,
        ...moved(({ ratio }) => ratio.perSecond),
        ...moved(({ ratio }) => ratio.p50),
        ...moved(({ ratio }) => ratio.p99),
      ],
    ];
  });
  const head = ['subject, connections', ...['calls/s', 'p50', 'p99'].flatMap((what) => [`${what} then`, 'now', 'is'])];
  return `Ratios, against those of ${earlier.at}\n\n${table(head, rows)}`;
}
