import { describe, expect, it } from 'vitest';
import { manyRoutes } from '../../bench/growth-installations.ts';
import { describeGrowth, nameOf } from '../../bench/growth-report.ts';
import type { Result } from '../../bench/results.ts';

describe('a caller with many routes', () => {
  it('has so many, and the one that is called last', () => {
    expect(manyRoutes(1)).toMatchObject([{ name: 'idempotent' }]);
    const hundred = manyRoutes(100);
    expect(hundred).toHaveLength(100);
    expect(hundred.at(-1)).toMatchObject({ name: 'idempotent', match: { path: '/idempotent' } });
    expect(new Set(hundred.map((route) => JSON.stringify(route))).size).toBe(100);
  });
});

describe('the report of growth', () => {
  const points = [
    { dimension: 'routes', at: 1 },
    { dimension: 'routes', at: 1000 },
    { dimension: 'bodies', at: 100 },
  ] as const;
  const result = (subject: string, ratio: number): Result => ({
    subject,
    against: 'proxy-2',
    connections: 32,
    rounds: 1,
    perSecond: 1000,
    p50: 2,
    p99: 3,
    drainSeconds: 0,
    ratio: { perSecond: ratio, p50: 1.5, p99: 1.5 },
    parts: [
      { name: 'sidecar of the caller', cpuPer1000: 0.25, memoryMB: 120 },
      { name: 'nats-server', cpuPer1000: 0.5, memoryMB: 60 },
    ],
  });
  const text = describeGrowth({
    version: 1,
    at: '2026-01-02T03:04:05.000Z',
    machine: { cpus: 2, model: 'any', node: '24.0.0', system: 'linux' },
    connections: 32,
    seconds: 1,
    rounds: 1,
    points,
    results: points.map((point, index) => result(nameOf(point), [0.8, 0.4, 0.3][index] ?? 0)),
    measurements: [],
  });
  const rows = text
    .split('\n')
    .filter((line) => /^\| [\d,]+ /.test(line))
    .map((row) => row.split('|').map((cell) => cell.trim()));

  it('compares each point with the first of its dimension', () => {
    expect(rows.map((cells) => [cells[1], cells[3], cells[4]])).toEqual([
      ['1', '0.80', '1.00'],
      ['1,000', '0.40', '0.50'],
      ['100', '0.30', '1.00'],
    ]);
  });

  it('shows processor time and memory under their own heads, and a dash for what was not there', () => {
    const heads = text
      .split('\n')
      .find((line) => line.startsWith('| routes'))
      ?.split('|');
    const shown = heads?.map((head, column) => [head.trim(), rows[0]?.[column]]).slice(7, -1);
    expect(shown).toEqual([
      ['CPU caller', '0.25'],
      ['CPU callee', '–'],
      ['CPU broker', '0.50'],
      ['MB caller', '120'],
      ['MB callee', '–'],
      ['MB broker', '60.0'],
    ]);
  });
});
