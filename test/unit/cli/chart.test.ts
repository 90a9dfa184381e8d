import { expect, test } from 'vitest';
import type { Topology } from '../../../sidecar/broker/topology.ts';
import { topologyMermaid, topologyTable } from '../../../sidecar/cli/chart.ts';
import { nine } from './sample-calls.ts';

const topology: Topology = {
  windowMs: 900_000,
  services: [
    { name: 'end', instances: 0 },
    { name: 'orders', instances: 0 },
    { name: 'payments', instances: 2 },
  ],
  edges: [
    {
      from: 'orders',
      to: 'payments',
      routes: ['charge', 'refund'],
      finished: 200,
      failed: 3,
      perSecond: 12.34,
      latency: { p50: 20, p99: 1200 },
      waiting: 4,
      oldest: nine - 60_000,
      deadLetters: 1,
    },
    { from: 'orders', to: 'end', routes: [], finished: 0, failed: 0, perSecond: 0, waiting: 0, deadLetters: 0 },
  ],
};

test('as a table, with what was not measured left open', () => {
  const lines = topologyTable(topology, nine).split('\n');
  expect(lines[1]?.split(/ {2,}/)).toEqual([
    'orders',
    'payments',
    'charge refund',
    '12.3/s',
    '20 ms',
    '1.2 s',
    '1.5 %',
    '4',
    '1 min',
    '1',
  ]);
  expect(lines[2]?.split(/ {2,}/)).toEqual(
    ['orders', 'end', '', '0/s', '-', '-', '-', '0', '-', '0'].filter((c) => c !== ''),
  );
  expect(lines.join('\n')).toContain('the last 15 min');
  expect(lines.at(-1)?.split(/ {2,}/)).toEqual(['payments', '2']);
});

test('as a Mermaid flowchart, whatever services are called', () => {
  expect(topologyMermaid(topology, nine).split('\n')).toEqual([
    'flowchart LR',
    '  s0["end"]',
    '  s1["orders"]',
    '  s2["payments"]',
    '  s1 -->|"12.3/s<br/>p99 1.2 s<br/>3 of 200 failed<br/>4 waiting, oldest 1 min<br/>1 dead"| s2',
    '  s1 -->|"0/s"| s0',
  ]);
});

test.for([
  [12.34, '12.3/s'],
  [0.5, '30/min'],
  [1 / 900, '4/h'],
  [1 / 86_400, '0/h'],
  [0, '0/s'],
] as const)('a rate of %d per second is told as %s', ([perSecond, told]) => {
  const [edge] = topology.edges;
  expect(topologyTable({ ...topology, edges: [{ ...edge!, perSecond }] }, nine)).toContain(` ${told} `);
});
