import { describe, expect, it } from 'vitest';
import { readGrowthOptions } from '../../bench/growth-options.ts';
import { readMemoryOptions } from '../../bench/memory-options.ts';
import { readOptions } from '../../bench/options.ts';

describe('the options of the bench', () => {
  it('name numbers of connections', () => {
    expect(readOptions(['--connections', '1,8'])).toMatchObject({ connections: [1, 8] });
    expect(() => readOptions(['--connections', '0'])).toThrow('--connections takes whole numbers from 1 to 10000000');
    expect(() => readOptions(['--rounds', '1.5'])).toThrow('not 1.5');
    expect(() => readOptions(['--seconds', 'soon'])).toThrow('--seconds is more than 0');
  });

  it('are few and short for the quick check, which installs nothing', () => {
    const options = readOptions(['--quick']);
    if (options === 'help') throw new Error('no help was asked for');
    expect(options).toMatchObject({ quick: true, connections: [32], seconds: 2, rounds: 3 });
    expect(options.subjects.map(({ on }) => on)).not.toContain('restate');
  });
});

describe('the options of bench:growth', () => {
  it('are all points, where nothing is said', () => {
    const options = readGrowthOptions([]);
    if (options === 'help') throw new Error('no help was asked for');
    const of = (wanted: string) => options.points.flatMap(({ dimension, at }) => (dimension === wanted ? [at] : []));
    expect(of('routes')).toEqual([1, 10, 100]);
    expect(of('services')).toEqual([1, 10, 50]);
    expect(of('waiting')).toEqual([0, 10_000, 100_000]);
    expect(of('bodies')).toEqual([100, 1024, 8192, 65_536, 524_288]);
  });

  it('choose dimensions and points', () => {
    expect(readGrowthOptions(['--only', 'waiting,routes', '--waiting', '0,5', '--routes', '2'])).toMatchObject({
      points: [
        { dimension: 'routes', at: 2 },
        { dimension: 'waiting', at: 0 },
        { dimension: 'waiting', at: 5 },
      ],
    });
  });

  it('refuse what cannot be', () => {
    expect(() => readGrowthOptions(['--only', 'callers'])).toThrow('nothing called callers; there is routes, services');
    expect(() => readGrowthOptions(['--services', '0'])).toThrow('--services takes whole numbers from 1');
    expect(() => readGrowthOptions(['--bodies', '49'])).toThrow('from 50');
  });
});

describe('the options of bench:memory', () => {
  it('are a million calls of the idempotent subject at 32 connections, where nothing is said', () => {
    const expected = { calls: 1_000_000, connections: 32, samples: 40, subject: { name: 'idempotent' } };
    expect(readMemoryOptions([])).toMatchObject(expected);
  });

  it('refuse what cannot be', () => {
    expect(() => readMemoryOptions(['--subject', 'durable'])).toThrow('no subject durable; there are direct, ');
    expect(() => readMemoryOptions(['--samples', '7'])).toThrow('--samples takes whole numbers from 8');
    expect(() => readMemoryOptions(['--calls', '10'])).toThrow('--calls 10 are fewer than the 40 of --samples');
  });
});
