import { parseArgs } from 'node:util';
import { whole } from './numbers.ts';
import { type Subject, subjects } from './subjects.ts';

/** What to measure. */
export interface MemoryOptions {
  readonly subject: Subject;
  readonly calls: number;
  readonly connections: number;
  readonly samples: number;
  readonly json: string | undefined;
}

export const memoryUsage = `npm run bench:memory -- [options]

Resident memory of each process while many calls go through it, and whether it still grows at the end.

  --calls N        calls (default 1000000)
  --connections N  open connections (default 32)
  --samples N      how often memory is read, at least 8 (default 40)
  --subject NAME   what is called, as in npm run bench (default idempotent)
  --json FILE      where the results go (default memory.json in the temporary folder)`;

/** @throws {RangeError} wrong usage, with what is allowed */
export function readMemoryOptions(args: readonly string[]): MemoryOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      calls: { type: 'string', default: '1000000' },
      connections: { type: 'string', default: '32' },
      samples: { type: 'string', default: '40' },
      subject: { type: 'string', default: 'idempotent' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  const subject = subjects.find(({ name }) => name === values.subject);
  if (subject === undefined) {
    throw new RangeError(`no subject ${values.subject}; there are ${subjects.map(({ name }) => name).join(', ')}`);
  }
  const calls = whole('calls', values.calls);
  const samples = whole('samples', values.samples, 8);
  if (calls < samples) throw new RangeError(`--calls ${calls} are fewer than the ${samples} of --samples`);
  return { subject, calls, connections: whole('connections', values.connections), samples, json: values.json };
}
