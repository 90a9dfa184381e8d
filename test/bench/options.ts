import { parseArgs } from 'node:util';
import { list, seconds, whole } from './numbers.ts';
import { choose, type Subject, subjects } from './subjects.ts';

/** What to measure, and what to do with it. */
export interface Options {
  readonly subjects: readonly Subject[];
  readonly connections: readonly number[];
  /** How long one measurement takes, after its warm-up, in s. */
  readonly seconds: number;
  readonly warmUpSeconds: number;
  /** How long each subject runs before the first round, in s: compilers and collectors take thousands of calls to settle. */
  readonly settleSeconds: number;
  readonly rounds: number;
  /** Where the results go as JSON. */
  readonly json?: string;
  /** An earlier JSON to compare with. */
  readonly compare?: string;
  /** Where the sidecars leave CPU profiles. */
  readonly profile?: string;
  /** Whether ratios below their floor fail the run. */
  readonly quick: boolean;
}

export const usage = `npm run bench -- [options]

  --only LIST         subjects, with commas (default all); what they are compared with comes along
  --connections LIST  numbers of connections (default 1,32,128)
  --seconds T         how long one measurement takes (default 5)
  --warm-up T         seconds before it that do not count (default 1)
  --settle T          seconds that each subject runs before the first round (default 10)
  --rounds N          how often everything is measured (default 5)
  --json FILE         where the results go (default bench.json in the temporary folder)
  --compare FILE      an earlier JSON to compare with
  --profile DIR       sidecars leave CPU profiles there
  --quick             a few subjects, short, with wide floors for their ratios: exit code 1 below one (npm run bench:quick)

Subjects:
${subjects.map(({ name, is }) => `  ${name.padEnd(14)} ${is}`).join('\n')}`;

/** @throws {RangeError} wrong usage, with what is allowed */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      connections: { type: 'string' },
      seconds: { type: 'string' },
      'warm-up': { type: 'string', default: '1' },
      settle: { type: 'string' },
      rounds: { type: 'string' },
      json: { type: 'string' },
      compare: { type: 'string' },
      profile: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const { quick, json, compare, profile } = values;
  const only = values.only ?? (quick ? 'proxy-1,passthrough,idempotent,guarded,sqlite' : '');
  return {
    subjects: choose(only.split(',').filter((name) => name !== '')),
    connections: list('connections', values.connections ?? (quick ? '32' : '1,32,128')),
    seconds: seconds('seconds', values.seconds ?? (quick ? '2' : '5')),
    warmUpSeconds: seconds('warm-up', values['warm-up']),
    settleSeconds: seconds('settle', values.settle ?? (quick ? '2' : '10')),
    rounds: whole('rounds', values.rounds ?? (quick ? '3' : '5')),
    quick,
    ...(json !== undefined && { json }),
    ...(compare !== undefined && { compare }),
    ...(profile !== undefined && { profile }),
  };
}
