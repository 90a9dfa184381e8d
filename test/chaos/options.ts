import { parseArgs } from 'node:util';
import type { Engine } from './broker.ts';
import { type FaultName, faults } from './schedule.ts';

export interface Options {
  readonly engine: Engine;
  readonly faults: readonly FaultName[];
  readonly calls: number;
  readonly seed: number;
  readonly seeds: number;
  /** Over how long the calls and the faults are spread, s. */
  readonly seconds: number;
  readonly callers: number;
  readonly ordered: boolean;
  readonly folder?: string;
}

export const usage = `npm run chaos -- [options]

  --broker nats|sqlite   the broker (default nats)
  --faults LIST          all, none, or names with commas (default all); a name with a minus in front is left out
  --calls N              what callers want, over the whole run (default 600)
  --seconds T            over how long (default 45)
  --seed S               the first seed (default 1): the same seed gives the same work and the same schedule
  --seeds K              so many seeds, one after another (default 1)
  --callers N            caller processes (default 3)
  --ordered              calls with an order key, too
  --folder DIR           where histories and logs go (default: a temporary folder)

Faults:
${Object.entries(faults)
  .map(([name, { is }]) => `  ${name.padEnd(14)} ${is}`)
  .join('\n')}`;

/** @throws {RangeError} wrong usage, with what is allowed */
export function readOptions(args: readonly string[]): Options | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      broker: { type: 'string', default: 'nats' },
      faults: { type: 'string', default: 'all' },
      calls: { type: 'string', default: '600' },
      seconds: { type: 'string', default: '45' },
      seed: { type: 'string', default: '1' },
      seeds: { type: 'string', default: '1' },
      callers: { type: 'string', default: '3' },
      ordered: { type: 'boolean', default: false },
      folder: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const { broker, folder, ordered } = values;
  if (broker !== 'nats' && broker !== 'sqlite') throw new RangeError(`--broker is nats or sqlite, not ${broker}`);
  return {
    engine: broker,
    faults: faultNames(values.faults),
    calls: count('calls', values.calls),
    seconds: count('seconds', values.seconds),
    seed: count('seed', values.seed),
    seeds: count('seeds', values.seeds),
    callers: count('callers', values.callers),
    ordered,
    ...(folder !== undefined && { folder }),
  };
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

function count(name: string, text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`--${name} is a whole number, not ${text}`);
  return value;
}
