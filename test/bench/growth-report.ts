import type { Machine } from './command.ts';
import { dimensions, type Point } from './growth-options.ts';
import type { Measurement } from './measurement.ts';
import { describeMachine, figure, table } from './report.ts';
import type { Result } from './results.ts';

/** What one run found, as it is written to JSON. */
export interface GrowthResults {
  readonly version: 1;
  readonly at: string;
  readonly machine: Machine;
  readonly connections: number;
  readonly seconds: number;
  readonly rounds: number;
  readonly points: readonly Point[];
  /** One for each point. */
  readonly results: readonly Result[];
  readonly measurements: readonly Measurement[];
}

/** Under which a point is measured and found again. */
export function nameOf({ dimension, at }: Point): string {
  return `${dimension} ${at}`;
}

/** The processes that are shown, and the heads of their columns. */
const shown = [
  ['sidecar of the caller', 'caller'],
  ['sidecar of the callee', 'callee'],
  ['nats-server', 'broker'],
] as const;

/** A table for each thing that there was more and more of, as Markdown. */
export function describeGrowth(run: GrowthResults): string {
  const { machine, connections, rounds, seconds, points } = run;
  const tables = [...Map.groupBy(points, ({ dimension }) => dimension)].map(
    ([dimension, own]) => `${capital(dimension)}: ${dimensions[dimension].is}\n\n${tableOf(own, run.results)}`,
  );
  return [
    `${describeMachine(machine)}; ${connections} connections, medians of ${rounds} rounds of ${seconds} s each. Ratios are to two ` +
      'proxy hops in the same rounds; `to first` is such a ratio of throughput against that of the first line. CPU is seconds ' +
      'for 1,000 calls, memory is MB, of both sidecars and the broker.',
    ...tables,
  ].join('\n\n');
}

function tableOf(points: readonly Point[], results: readonly Result[]): string {
  const head = [
    points[0]?.dimension ?? '',
    'calls/s',
    'ratio',
    'to first',
    'p50 ms',
    'ratio',
    ...shown.map(([, short]) => `CPU ${short}`),
    ...shown.map(([, short]) => `MB ${short}`),
  ];
  const found = points.flatMap((point) => {
    const result = results.find(({ subject }) => subject === nameOf(point));
    return result ? [{ at: point.at, result }] : [];
  });
  const rows = found.map(({ at, result }) => {
    const parts = shown.map(([name]) => result.parts.find((part) => part.name === name));
    return [
      at.toLocaleString('en'),
      figure(result.perSecond),
      figure(result.ratio.perSecond),
      figure(result.ratio.perSecond / (found[0]?.result.ratio.perSecond ?? Number.NaN)),
      figure(result.p50),
      figure(result.ratio.p50),
      ...parts.map((part) => figure(part?.cpuPer1000 ?? Number.NaN)),
      ...parts.map((part) => figure(part?.memoryMB ?? Number.NaN)),
    ];
  });
  return table(head, rows);
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
