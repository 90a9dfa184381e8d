import { describe, expect, test } from 'vitest';
import { commandOf, faultNames, type Options, readOptions } from '../../chaos/options.ts';
import { chance } from '../../chaos/random.ts';
import { type FaultName, faults, schedule, type Target } from '../../chaos/schedule.ts';
import { taskOf } from '../../chaos/workload.ts';

const everyFault = Object.keys(faults) as FaultName[];
const targets: Target[] = [
  { name: 'orders-1', kind: 'sidecar' },
  { name: 'payments-1', kind: 'sidecar' },
  { name: 'link', kind: 'link', involves: ['orders-1'] },
  { name: 'service-1', kind: 'service' },
  { name: 'archive', kind: 'subscriber' },
  { name: 'caller-1', kind: 'caller' },
  { name: 'nats-server', kind: 'broker' },
  { name: 'links', kind: 'side', involves: ['orders-1'] },
  { name: 'clock', kind: 'clock' },
  { name: 'cluster', kind: 'cluster' },
  { name: 'sidecars', kind: 'fleet', involves: ['orders-1', 'payments-1'] },
];
const span = 120_000;
const seeds = Array.from({ length: 20 }, (_, index) => String(index));

describe('a schedule', () => {
  test('is the same for the same seed and another one for another seed', () => {
    const [one, again, other] = ['1', '1', '2'].map((seed) => schedule(seed, everyFault, targets, span));
    expect(one).toEqual(again);
    expect(one).not.toEqual(other);
    expect(one?.length).toBeGreaterThan(20);
  });

  test('ends with the run and hits what exists', () => {
    for (const seed of seeds) {
      for (const { name, target, at, lasts } of schedule(seed, everyFault, targets, span)) {
        expect(at + lasts).toBeLessThanOrEqual(span + 1);
        const hit = targets.find((candidate) => candidate.name === target);
        expect(faults[name].hits).toContain(hit?.kind);
      }
    }
  });

  test('never hits what is still hit, or what that depends on', () => {
    const involved = (name: string) => [name, ...(targets.find((target) => target.name === name)?.involves ?? [])];
    for (const seed of seeds) {
      const plan = schedule(seed, everyFault, targets, span);
      for (const [index, later] of plan.entries()) {
        for (const earlier of plan.slice(0, index)) {
          if (earlier.at + earlier.lasts < later.at) continue;
          expect(involved(earlier.target).filter((name) => involved(later.target).includes(name))).toEqual([]);
        }
      }
    }
  });

  test('has several faults at a time and every kind of them', () => {
    const plans = seeds.map((seed) => schedule(seed, everyFault, targets, span));
    const overlap = plans.some((plan) => plan.some(({ at, lasts }, i) => (plan[i + 1]?.at ?? span) < at + lasts));
    expect(overlap).toBe(true);
    const seen = new Set(plans.flat().map(({ name }) => name));
    expect([...seen].toSorted()).toEqual(everyFault.filter((name) => name !== 'lock' && name !== 'full').toSorted());
  });

  test('loses one node of a cluster for good, once, in the second half of the run', () => {
    for (const seed of seeds) {
      for (const names of [everyFault, ['lost', 'kill'], ['lost']] as const) {
        const losses = schedule(seed, names, targets, span).filter(({ name }) => name === 'lost');
        expect(losses).toHaveLength(1);
        expect(losses[0]?.at).toBeGreaterThan(span / 2);
      }
    }
    const alone = targets.filter(({ kind }) => kind !== 'cluster');
    expect(schedule('1', everyFault, alone, span).map(({ name }) => name)).not.toContain('lost');
  });

  test('keeps a subscriber away for about half of the run, once', () => {
    for (const seed of seeds) {
      const [absence, ...others] = schedule(seed, everyFault, targets, span).filter(({ name }) => name === 'away');
      expect(others).toEqual([]);
      expect(absence).toMatchObject({ target: 'archive' });
      expect(absence!.lasts / span).toBeGreaterThan(0.35);
      expect(absence!.at + absence!.lasts).toBeLessThan(span * 0.7);
    }
  });

  test('says by how much a clock jumps, forwards and backwards', () => {
    const jumps = seeds.flatMap((seed) => schedule(seed, ['clock'], targets, span)).map(({ by }) => by ?? 0);
    expect(Math.min(...jumps)).toBeLessThan(-5_000);
    expect(Math.max(...jumps)).toBeGreaterThan(5_000);
  });

  test('is empty without faults', () => {
    expect(schedule('1', [], targets, span)).toEqual([]);
  });
});

test('a caller that was killed finds its tasks again', () => {
  expect(taskOf('7', 'caller-1', 42, false)).toEqual(taskOf('7', 'caller-1', 42, false));
  const tokens = seeds.flatMap((seed) =>
    ['caller-1', 'caller-2'].map((name) => taskOf('7', name, Number(seed), true).token),
  );
  expect(new Set(tokens).size).toBe(tokens.length);
});

test('weights are kept, nought is never', () => {
  const dice = chance('weights');
  const drawn = Array.from({ length: 2_000 }, () => dice.weighted({ often: 9, seldom: 1, never: 0 }));
  const share = (name: string) => drawn.filter((each) => each === name).length / drawn.length;
  expect(share('never')).toBe(0);
  expect(share('often')).toBeGreaterThan(0.85);
  expect(share('seldom')).toBeGreaterThan(0.05);
});

describe('options', () => {
  test.for([
    ['all', everyFault],
    ['none', []],
    ['pause,kill', ['kill', 'pause']],
    ['all,-full,-lock', everyFault.filter((name) => name !== 'full' && name !== 'lock')],
  ] as const)('--faults %s', ([text, expected]) => {
    expect(faultNames(text)).toEqual(expected);
  });

  test('a run can be played again: its command reads as its options', () => {
    const args = ['--broker', 'sqlite', '--faults', 'kill,pause', '--calls', '9', '--seed', '7', '--no-ordered'];
    const options = readOptions(args) as Options;
    const again = commandOf(options, 'sqlite', 7).split(' -- ').at(-1) ?? '';
    expect(readOptions(again.split(' '))).toEqual(options);
    const cluster = readOptions(['--cluster', '--seed', '3']) as Options;
    const anew = commandOf(cluster, 'cluster', 3).split(' -- ').at(-1) ?? '';
    expect(readOptions(anew.split(' '))).toEqual(cluster);
  });

  test('--cluster makes three servers of nats', () => {
    expect(readOptions(['--cluster'])).toMatchObject({ engines: ['cluster'] });
    expect(readOptions(['--cluster', '--broker', 'nats,sqlite'])).toMatchObject({ engines: ['cluster', 'sqlite'] });
  });

  test('--quick is for a gate, and what is given beside it wins', () => {
    expect(readOptions(['--quick'])).toMatchObject({ engines: ['nats', 'sqlite'], seeds: 3, limit: 240 });
    expect(
      readOptions(['--limit', '99', '--quick', '--broker', 'nats', '--seeds', '1', '--report', 'r']),
    ).toMatchObject({
      engines: ['nats'],
      seeds: 1,
      limit: 99,
      seconds: 12,
      report: 'r',
    });
    expect(readOptions([])).not.toHaveProperty('limit');
  });

  test.for([
    ['--faults', 'earthquake'],
    ['--broker', 'kafka'],
    ['--broker', 'nats,kafka'],
    ['--calls', 'many'],
    ['--colour', 'red'],
  ])('%s %s is refused', (args) => {
    expect(() => readOptions(args)).toThrow(/earthquake|kafka|many|colour/);
  });
});
