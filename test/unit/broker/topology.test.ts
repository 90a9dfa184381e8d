import { expect, test } from 'vitest';
import { TopologyMap } from '../../../sidecar/broker/topology.ts';
import { facts } from '../cli/sample-calls.ts';

const now = facts.acceptedAt + 600_000;
const finished = (ago: number) => ({ call: facts, outcome: 'answered' as const, finishedAt: now - ago });

test('where all calls of the window are known, the rate is over the window', () => {
  const map = new TopologyMap(now, 100_000);
  map.finished([finished(1000), finished(2000), finished(200_000)], true);
  expect(map.result().edges).toMatchObject([{ finished: 2, perSecond: 0.02 }]);
});

test('where only the newest are known, it is over the time that they cover', () => {
  const map = new TopologyMap(now, 100_000);
  map.finished([finished(0), finished(2000)], false);
  expect(map.result().edges).toMatchObject([{ finished: 2, perSecond: 1 }]);
});

test('the newest that reach beyond the window are all of it', () => {
  const map = new TopologyMap(now, 100_000);
  map.finished([finished(1000), finished(200_000)], false);
  expect(map.result().edges).toMatchObject([{ finished: 1, perSecond: 0.01 }]);
});
