import type { Machine } from './command.ts';
import type { Measurement, PartUsage } from './measurement.ts';
import { median } from './statistics.ts';
import { restateRivals, type Subject } from './subjects.ts';

/** Medians over the rounds of one subject at one number of connections. */
export interface Result {
  readonly subject: string;
  readonly against: string;
  readonly connections: number;
  readonly rounds: number;
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly drainSeconds: number;
  /**
   * Against the subject `against`, each the median of the ratios of the rounds: what the two had in common in a round, such
   * as other work on the machine, is out of it. NaN where that was not measured.
   */
  readonly ratio: { readonly perSecond: number; readonly p50: number; readonly p99: number };
  readonly parts: readonly PartUsage[];
}

/** What one run found, as it is written to JSON. */
export interface Results {
  readonly version: 1;
  readonly at: string;
  readonly machine: Machine;
  readonly seconds: number;
  readonly rounds: number;
  readonly results: readonly Result[];
  readonly measurements: readonly Measurement[];
}

/** One result for each subject and number of connections that was measured, in that order. */
export function summarise(subjects: readonly Subject[], measurements: readonly Measurement[]): readonly Result[] {
  const connections = [...new Set(measurements.map((each) => each.connections))];
  return connections.flatMap((count) => {
    const alike = measurements.filter((each) => each.connections === count);
    return subjects.flatMap(({ name, against }) => {
      const own = alike.filter(({ subject }) => subject === name);
      if (own.length === 0) return [];
      const ratio = (value: (of: Measurement) => number) =>
        median(
          own.flatMap((each) => {
            const base = alike.find(({ subject, round }) => subject === against && round === each.round);
            return base ? [value(each) / value(base)] : [];
          }),
        );
      const middle = (value: (of: Measurement) => number) => median(own.map(value));
      return [
        {
          subject: name,
          against,
          connections: count,
          rounds: own.length,
          perSecond: middle((each) => each.perSecond),
          p50: middle((each) => each.p50),
          p99: middle((each) => each.p99),
          drainSeconds: middle((each) => each.drainSeconds),
          ratio: {
            perSecond: ratio((each) => each.perSecond),
            p50: ratio((each) => each.p50),
            p99: ratio((each) => each.p99),
          },
          parts: (own[0]?.parts ?? []).map(({ name: part }, index) => ({
            name: part,
            cpuPer1000: middle((each) => each.parts[index]?.cpuPer1000 ?? Number.NaN),
            memoryMB: middle((each) => each.parts[index]?.memoryMB ?? Number.NaN),
          })),
        },
      ];
    });
  });
}

/** How Holdline did in the same rounds as Restate: medians of ratios, 2 of `perSecond` being twice as many calls. */
export function againstRestate(
  measurements: readonly Measurement[],
): readonly { subject: string; connections: number; perSecond: number; p50: number }[] {
  const theirs = measurements.filter(({ subject }) => subject === 'restate');
  const counts = [...new Set(theirs.map(({ connections }) => connections))];
  return counts.flatMap((connections) =>
    restateRivals.flatMap((name) => {
      const pairs = theirs.flatMap((their) => {
        const own = measurements.find(
          (each) => each.subject === name && each.connections === connections && each.round === their.round,
        );
        return own && their.connections === connections ? [{ own, their }] : [];
      });
      if (pairs.length === 0) return [];
      const perSecond = median(pairs.map(({ own, their }) => own.perSecond / their.perSecond));
      return [
        { subject: name, connections, perSecond, p50: median(pairs.map(({ own, their }) => own.p50 / their.p50)) },
      ];
    }),
  );
}

/** The smallest ratio of throughput against two proxy hops that the quick check lets pass, by subject. */
export const floors: Readonly<Record<string, number>> = {
  passthrough: 0.5,
  idempotent: 0.25,
  guarded: 0.2,
  sqlite: 0.1,
};

/** What the quick check has to complain about: a line for each ratio below its floor. */
export function regressions(results: readonly Result[]): readonly string[] {
  return results.flatMap(({ subject, connections, ratio }) => {
    const floor = floors[subject];
    // Written so that NaN, a ratio that could not be taken, is a complaint as well.
    return floor === undefined || ratio.perSecond >= floor
      ? []
      : [
          `${subject} at ${connections} connections has ${ratio.perSecond.toFixed(2)} of two proxy hops, below ${floor}`,
        ];
  });
}
