import { parseArgs } from 'node:util';
import type { Engine } from './broker.ts';
import { type FaultName, faults } from './schedule.ts';

export interface Options {
  /** The brokers, each of which gets every seed. */
  readonly engines: readonly Engine[];
  readonly faults: readonly FaultName[];
  readonly calls: number;
  readonly seed: number;
  readonly seeds: number;
  /** Over how long the calls and the faults are spread, s. */
  readonly seconds: number;
  readonly callers: number;
  readonly ordered: boolean;
  readonly folder?: string;
  /** After this the runs are ended, finished or not, s. */
  readonly limit?: number;
  /** A file that gets the outcome of each run, as JSON. */
  readonly report?: string;
}

/** What `--quick` stands for: what a gate has the time for. Options that are given beside it win. */
const quick = { broker: 'nats,sqlite', calls: '200', seconds: '12', seeds: '3', limit: '240' };
const ordinary = { broker: 'nats', calls: '600', seconds: '45', seeds: '1' };

export const usage = `npm run chaos -- [options]

  --broker LIST          nats, sqlite, or both with a comma between (default nats)
  --cluster              nats is three servers, of 2.11 or later, with three copies of each stream
  --faults LIST          all, none, or names with commas (default all); a name with a minus in front is left out
  --calls N              what callers want, over the whole run (default 600)
  --seconds T            over how long (default 45)
  --seed S               the first seed (default 1): the same seed gives the same work and the same schedule
  --seeds K              so many seeds, one after another (default 1)
  --callers N            caller processes (default 3)
  --no-ordered           no calls with an order key
  --quick                two minutes for both brokers: 200 calls in 12 s, three seeds each, at most four minutes
  --limit T              after so many seconds what has not begun is skipped, and what has not ended has failed
  --report FILE          gets the outcome of each run, as JSON
  --folder DIR           where histories and logs go (default: a temporary folder)

Faults:
${Object.entries(faults)
  .map(([name, { is }]) => `  ${name.padEnd(14)} ${is}`)
  .join('\n')}`;

/** @throws {RangeError} wrong usage, with what is allowed */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    allowNegative: true,
    options: {
      broker: { type: 'string' },
      cluster: { type: 'boolean', default: false },
      faults: { type: 'string', default: 'all' },
      calls: { type: 'string' },
      seconds: { type: 'string' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string' },
      callers: { type: 'string', default: '3' },
      ordered: { type: 'boolean', default: true },
      folder: { type: 'string' },
      quick: { type: 'boolean', default: false },
      limit: { type: 'string' },
      report: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const { folder, ordered, report } = values;
  const usual: typeof ordinary & { limit?: string } = values.quick ? quick : ordinary;
  const limit = values.limit ?? usual.limit;
  return {
    engines: engineNames(values.broker ?? usual.broker).map((name) =>
      name === 'nats' && values.cluster ? 'cluster' : name,
    ),
    faults: faultNames(values.faults),
    calls: count('calls', values.calls ?? usual.calls),
    seconds: count('seconds', values.seconds ?? usual.seconds),
    seed: count('seed', values.seed),
    seeds: count('seeds', values.seeds ?? usual.seeds),
    callers: count('callers', values.callers),
    ordered,
    ...(folder !== undefined && { folder }),
    ...(limit !== undefined && { limit: count('limit', limit) }),
    ...(report !== undefined && { report }),
  };
}

/** The command that plays one seed of a run once more: the same work under the same schedule. */
export function commandOf(options: Options, engine: Engine, seed: number): string {
  const { faults: chosen, calls, seconds, callers, ordered } = options;
  const all = chosen.length === Object.keys(faults).length;
  return [
    'npm run chaos --',
    engine === 'cluster' ? '--cluster' : `--broker ${engine}`,
    `--faults ${all ? 'all' : chosen.join(',') || 'none'}`,
    `--calls ${calls} --seconds ${seconds} --callers ${callers} --seed ${seed}`,
    ...(ordered ? [] : ['--no-ordered']),
  ].join(' ');
}

/** `all`, `none`, `kill,pause`, `all,-full`. */
export function faultNames(text: string): FaultName[] {
  const every = Object.keys(faults) as FaultName[];
  const chosen = new Set<FaultName>();
  for (const word of text.split(',').map((part) => part.trim())) {
    const name = word.replace(/^-/, '');
    if (word === 'none') continue;
    if (word === 'all') for (const each of every) chosen.add(each);
    else if (!every.some((each) => each === name)) {
      throw new RangeError(`--faults knows all, none, ${every.join(', ')}; not ${name}`);
    } else if (word.startsWith('-')) chosen.delete(name as FaultName);
    else chosen.add(name as FaultName);
  }
  return every.filter((name) => chosen.has(name));
}

function engineNames(text: string): Engine[] {
  return text.split(',').map((word) => {
    const name = word.trim();
    if (name !== 'nats' && name !== 'sqlite') throw new RangeError(`--broker is nats, sqlite or both, not ${name}`);
    return name;
  });
}

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`--${name} is a whole number, not ${text}`);
  return value;
}
