import { writeFile } from 'node:fs/promises';
import { arch, cpus, platform, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { releasePorts } from '../support/free-port.ts';

/** What something was measured on. */
export interface Machine {
  readonly cpus: number;
  readonly model: string;
  readonly node: string;
  readonly system: string;
}

/** The one that this runs on. */
export function thisMachine(): Machine {
  const all = cpus();
  return {
    cpus: all.length,
    model: all[0]?.model.trim() ?? 'unknown',
    node: process.versions.node,
    system: `${platform()} ${release()} ${arch()}`,
  };
}

/** One line about how far a run is, beside its results. */
export function progress(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** What a command consists of. */
export interface Command<Options> {
  readonly usage: string;
  /** @throws {Error} wrong usage, with what is allowed */
  readonly read: (args: readonly string[]) => Options | 'help';
  /** Resolves with the exit code. */
  readonly run: (options: Options) => Promise<number>;
}

/** Runs the command with the arguments of this process. Exit codes: those of `run`, and 2 for wrong usage. */
export async function runCommand<Options>({ usage, read, run }: Command<Options>): Promise<number> {
  let options: Options | 'help';
  try {
    options = read(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}\n`);
    return 2;
  }
  if (options === 'help') {
    process.stdout.write(`${usage}\n`);
    return 0;
  }
  try {
    return await run(options);
  } finally {
    releasePorts();
  }
}

/** Prints the results, and writes them to the file, by default to `name` in the temporary folder. */
export async function publish(text: string, results: object, file: string | undefined, name: string): Promise<void> {
  const place = file ?? join(tmpdir(), name);
  await writeFile(place, `${JSON.stringify(results, undefined, 2)}\n`);
  process.stdout.write(`${text}\n`);
  progress(`\nwritten to ${place}`);
}
