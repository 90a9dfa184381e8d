import { expect, it } from 'vitest';
import { trend } from '../../bench/memory-trend.ts';

const sampled = (memory: readonly number[]) =>
  memory.map((memoryMB, index) => ({ calls: (index + 1) * 1000, memoryMB }));

it('memory that only grew at first does not grow any more', () => {
  const result = trend(sampled([50, 70, 85, 95, 100, 100, 100, 100]));
  expect(result).toMatchObject({ first: 50, most: 100, end: 100, per100000: 0, grows: false });
});

it('memory that goes up and down around the same does not grow', () => {
  expect(trend(sampled([200, 208, 198, 206, 196, 204, 201, 209])).grows).toBe(false);
});

it('memory that grows steadily is told, with how fast', () => {
  const result = trend(sampled([100, 102, 104, 106, 108, 110, 112, 114]));
  expect(result).toMatchObject({ end: 113, grows: true });
  expect(result.per100000).toBeCloseTo(200);
});

it('memory that is given back does not grow', () => {
  const result = trend(sampled([100, 110, 120, 130, 125, 120, 115, 110]));
  expect(result).toMatchObject({ most: 130, grows: false });
  expect(result.per100000).toBeCloseTo(-500);
});
