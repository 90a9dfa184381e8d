import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { releasePorts } from '../support/free-port.ts';
import { type Options, readOptions, usage } from './options.ts';
import { runSeed } from './run.ts';

/** Runs the seeds one after another. Exit codes: 0 every promise held, 1 a violation or a failure, 2 wrong usage. */
async function main(): Promise<number> {
  let options: Options | 'help';
  try {
    options = readOptions(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}\n`);
    return 2;
  }
  if (options === 'help') {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  const root = options.folder ?? (await mkdtemp(join(tmpdir(), 'holdline-chaos-')));
  const broken: number[] = [];
  for (let seed = options.seed; seed < options.seed + options.seeds; seed++) {
    try {
      const { violations } = await runSeed(options, seed, root);
      if (violations.length > 0) broken.push(seed);
    } catch (error) {
      broken.push(seed);
      process.stderr.write(`[seed ${seed}] the run itself failed: ${describe(error)}\n`);
    } finally {
      releasePorts();
    }
  }
  if (broken.length === 0 && options.folder === undefined) rmSync(root, { recursive: true, force: true });
  const text = broken.length === 0 ? 'every promise held' : `failed: seed ${broken.join(', ')}; see ${root}`;
  process.stdout.write(`${options.seeds} ${options.seeds === 1 ? 'seed' : 'seeds'} on ${options.engine}: ${text}\n`);
  return broken.length === 0 ? 0 : 1;
}

function describe(error: unknown): string {
  if (error instanceof AggregateError) return [error.message, ...error.errors.map(describe)].join('\n  ');
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

process.exitCode = await main();
