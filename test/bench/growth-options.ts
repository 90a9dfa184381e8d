import { parseArgs } from 'node:util';
import { list, seconds, whole } from './numbers.ts';

/** What there is more and more of, and how much of it by default. */
export const dimensions = {
  routes: { is: 'routes of the caller; the last one matches', points: [1, 10, 100], from: 1 },
  services: {
    is: 'services that take calls on one broker; all but one have nothing to do',
    points: [1, 10, 50],
    from: 1,
  },
  waiting: { is: 'calls that wait for another service, which is down', points: [0, 10_000, 100_000], from: 0 },
  bodies: { is: 'bytes of each body', points: [100, 1024, 8 * 1024, 64 * 1024, 512 * 1024], from: 50 },
} as const;

export type Dimension = keyof typeof dimensions;

/** How much there is of one thing, where of the others there is as little as it takes. */
export interface Point {
  readonly dimension: Dimension;
  readonly at: number;
}

/** What to measure. */
export interface GrowthOptions {
  readonly points: readonly Point[];
  readonly connections: number;
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly rounds: number;
  readonly json: string | undefined;
}

const names = Object.keys(dimensions) as readonly Dimension[];

export const growthUsage = `npm run bench:growth -- [options]

How the cost of a durable call (JetStream, idempotent POST) grows, beside two proxy hops in the same rounds.

  --only LIST      which, with commas (default all): ${names.join(', ')}
${names.map((name) => `  --${`${name} LIST`.padEnd(14)} ${dimensions[name].is} (default ${dimensions[name].points.join()})`).join('\n')}
  --connections N  open connections (default 32)
  --seconds T      how long one measurement takes (default 2)
  --warm-up T      seconds before it that do not count (default 1)
  --rounds N       how often each point is measured (default 3)
  --json FILE      where the results go (default growth.json in the temporary folder)`;

/** @throws {RangeError} wrong usage, with what is allowed */
export function readGrowthOptions(args: readonly string[]): GrowthOptions | 'help' {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string', default: names.join() },
      routes: text,
      services: text,
      waiting: text,
      bodies: text,
      connections: { type: 'string', default: '32' },
      seconds: { type: 'string', default: '2' },
      'warm-up': { type: 'string', default: '1' },
      rounds: { type: 'string', default: '3' },
      json: text,
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const only = values.only.split(',');
  for (const each of only) {
    if (!names.some((name) => name === each))
      throw new RangeError(`nothing called ${each}; there is ${names.join(', ')}`);
  }
  return {
    points: names
      .filter((name) => only.includes(name))
      .flatMap((dimension) => {
        const { points, from } = dimensions[dimension];
        return list(dimension, values[dimension] ?? points.join(), from).map((at) => ({ dimension, at }));
      }),
    connections: whole('connections', values.connections),
    seconds: seconds('seconds', values.seconds),
    warmUpSeconds: seconds('warm-up', values['warm-up']),
    rounds: whole('rounds', values.rounds),
    json: values.json,
  };
}
