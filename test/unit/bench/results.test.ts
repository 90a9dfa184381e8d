import { describe, expect, it } from 'vitest';
import type { Measurement } from '../../bench/measurement.ts';
import { comparison } from '../../bench/report.ts';
import { againstRestate, regressions, type Results, summarise } from '../../bench/results.ts';
import { median, percentile } from '../../bench/statistics.ts';
import { choose, connectionsOf } from '../../bench/subjects.ts';

function measured(subject: string, round: number, perSecond: number, connections = 32): Measurement {
  const parts = [{ name: 'callee', cpuPer1000: perSecond / 1000, memoryMB: 10 }];
  const rest = { calls: perSecond, total: perSecond, failed: 0, drainSeconds: 0, parts };
  return { subject, round, connections, perSecond, p50: 1000 / perSecond, p99: 5000 / perSecond, ...rest };
}

const chosen = choose(['idempotent']);

describe('statistics', () => {
  it('take the nearest rank', () => {
    const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
    expect([percentile(hundred, 0.5), percentile(hundred, 0.99), percentile([7], 0.5)]).toEqual([50, 99, 7]);
    expect(percentile([], 0.5)).toBeNaN();
  });

  it('take the middle of what is not sorted', () => {
    expect([median([9, 1, 5]), median([9, 1, 5, 7])]).toEqual([5, 6]);
    expect(median([])).toBeNaN();
  });
});

describe('the subjects of a run', () => {
  it('bring along what they are compared with', () => {
    expect(choose(['body-64k', 'idempotent']).map(({ name }) => name)).toEqual([
      'proxy-2',
      'proxy-2-64k',
      'idempotent',
      'body-64k',
    ]);
  });

  it('are measured at no more connections than they can take', () => {
    const [small, large] = choose(['body-8m', 'idempotent'])
      .filter(({ against, name }) => against !== name)
      .map((each) => connectionsOf(each, [128, 1, 32]));
    expect([small, large]).toEqual([
      [1, 32, 128],
      [1, 4],
    ]);
  });

  it('are named', () => {
    expect(() => choose(['durable'])).toThrow('no subject durable; there are direct, ');
  });
});

describe('ratios', () => {
  it('are medians of the ratios of each round, not ratios of medians', () => {
    // The second round was twice as slow for both: the ratio is the same, and the third is the odd one.
    const results = summarise(chosen, [
      measured('proxy-2', 1, 1000),
      measured('idempotent', 1, 500),
      measured('proxy-2', 2, 400),
      measured('idempotent', 2, 200),
      measured('proxy-2', 3, 600),
      measured('idempotent', 3, 540),
    ]);
    const [, idempotent] = results;
    expect(idempotent).toMatchObject({ perSecond: 500, rounds: 3, ratio: { perSecond: 0.5, p50: 2, p99: 2 } });
    expect(idempotent?.parts).toEqual([{ name: 'callee', cpuPer1000: 0.5, memoryMB: 10 }]);
  });

  it('are taken at the same number of connections', () => {
    const results = summarise(chosen, [
      measured('proxy-2', 1, 100, 1),
      measured('idempotent', 1, 90, 1),
      measured('proxy-2', 1, 1000),
      measured('idempotent', 1, 300),
    ]);
    const ratios = results.map(({ subject, connections, ratio }) => [subject, connections, ratio.perSecond]);
    expect(ratios).toEqual([
      ['proxy-2', 1, 1],
      ['idempotent', 1, 0.9],
      ['proxy-2', 32, 1],
      ['idempotent', 32, 0.3],
    ]);
  });
});

describe('the comparison with Restate', () => {
  it('is made round by round, at the same number of connections', () => {
    const measurements = [
      measured('restate', 1, 100),
      measured('keyed', 1, 400),
      measured('restate', 2, 50),
      measured('keyed', 2, 300),
      measured('restate', 3, 100),
      measured('keyed', 3, 500),
      measured('restate', 1, 10, 1),
      measured('idempotent', 1, 40, 1),
      measured('idempotent', 2, 40, 1),
    ];
    expect(againstRestate(measurements)).toEqual([
      { subject: 'keyed', connections: 32, perSecond: 5, p50: 0.2 },
      { subject: 'idempotent', connections: 1, perSecond: 4, p50: 0.25 },
    ]);
  });

  it('is left out where Restate was not measured', () => {
    expect(againstRestate([measured('keyed', 1, 400)])).toEqual([]);
  });
});

describe('the quick check', () => {
  const complaints = (perSecond: number) =>
    regressions(summarise(chosen, [measured('proxy-2', 1, 1000), measured('idempotent', 1, perSecond)]));

  it('lets what is above its floor pass', () => {
    expect(complaints(250)).toEqual([]);
  });

  it('complains about what is below', () => {
    expect(complaints(240)).toEqual(['idempotent at 32 connections has 0.24 of two proxy hops, below 0.25']);
  });

  it('complains where there is nothing to compare with', () => {
    expect(regressions(summarise(chosen, [measured('idempotent', 1, 240)]))).toHaveLength(1);
  });
});

describe('a comparison with an earlier run', () => {
  it('shows how the ratios have moved, of what both have', () => {
    const run = (perSecond: number): Results => ({
      version: 1,
      at: '2026-01-02T03:04:05.000Z',
      machine: { cpus: 2, model: 'any', node: '24.0.0', system: 'linux' },
      seconds: 1,
      rounds: 1,
      results: summarise(chosen, [measured('proxy-2', 1, 1000), measured('idempotent', 1, perSecond)]),
      measurements: [],
    });
    const earlier = run(400);
    const text = comparison({ ...earlier, results: earlier.results.slice(1) }, run(500));
    expect(text).toContain('2026-01-02T03:04:05.000Z');
    const rows = text.split('\n').filter((line) => /^\| \w+, /.test(line) && !line.includes('connections'));
    expect(rows.map((row) => row.split('|').map((cell) => cell.trim()))).toEqual([
      ['', 'idempotent, 32', '0.40', '0.50', '125 %', '2.50', '2.00', '80.0 %', '2.50', '2.00', '80.0 %', ''],
    ]);
  });
});
