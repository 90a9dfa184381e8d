import { rmSync, writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { releasePorts } from '../support/free-port.ts';
import { commandOf, type Options, readOptions, usage } from './options.ts';
import { type Outcome, report, table } from './report.ts';
import { runSeed } from './run.ts';

/** What a run takes beside the time over which its calls are spread, on a machine that is not too slow, s. */
const startAndSettle = 20;
/** The exit code of a process that was interrupted. */
const interrupted = 130;

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
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => stop.abort(new Error(`stopped by ${signal}`)));
  }
  const outcomes = await runAll(options, root, stop.signal);
  if (options.report !== undefined) writeFileSync(options.report, report(outcomes));
  process.stdout.write(`\n${table(outcomes)}\n\n`);
  const broken = outcomes.filter(({ verdict }) => verdict !== 'held' && verdict !== 'skipped');
  const untried = options.engines.filter((each) => outcomes.every((o) => o.engine !== each || o.verdict === 'skipped'));
  if (broken.length === 0 && options.folder === undefined) rmSync(root, { recursive: true, force: true });
  const runs = `${outcomes.length} ${outcomes.length === 1 ? 'run' : 'runs'}`;
  const names = broken.map(({ engine, seed }) => `${engine} ${seed}`).join(', ');
  const skipped = outcomes.filter(({ verdict }) => verdict === 'skipped').length;
  if (skipped > 0) process.stdout.write(`no time was left for ${skipped} of ${runs}\n`);
  if (untried.length > 0) process.stdout.write(`nothing was proved on ${untried.join(' and ')}\n`);
  for (const { engine, seed } of broken) process.stdout.write(`again: ${commandOf(options, engine, seed)}\n`);
  if (broken.length > 0) process.stdout.write(`${runs}: failed: ${names}; see ${root}\n`);
  else if (untried.length === 0) process.stdout.write(`${runs}: every promise held\n`);
  if (stop.signal.aborted) return interrupted;
  return broken.length === 0 && untried.length === 0 ? 0 : 1;
}

/** The brokers take turns, so that a run with a limit sees each of them. */
async function runAll(options: Options, root: string, stop: AbortSignal): Promise<Outcome[]> {
  const { seed: first, seeds, engines, seconds, limit } = options;
  const plan = Array.from({ length: seeds }, (_, index) => engines.map((engine) => ({ engine, seed: first + index })));
  const outcomes: Outcome[] = [];
  const start = performance.now();
  const left = () => (limit === undefined ? Number.POSITIVE_INFINITY : limit - (performance.now() - start) / 1_000);
  for (const { engine, seed } of plan.flat()) {
    // The first run on each broker is begun however little time there is: without it nothing is proved.
    if (stop.aborted || (seed > first && left() < seconds + startAndSettle)) {
      outcomes.push({ engine, seed, verdict: 'skipped', seconds: 0 });
      continue;
    }
    const begin = performance.now();
    const took = () => Math.round((performance.now() - begin) / 1_000);
    const timeOut = limit === undefined ? [] : [AbortSignal.timeout(Math.max(1, Math.ceil(left() * 1_000)))];
    try {
      const result = await runSeed(options, engine, seed, root, AbortSignal.any([stop, ...timeOut]));
      outcomes.push({
        engine,
        seed,
        verdict: result.violations.length === 0 ? 'held' : 'broken',
        result,
        seconds: took(),
      });
    } catch (error) {
      const failure = describe(error);
      outcomes.push({ engine, seed, verdict: 'failed', failure, seconds: took() });
      process.stderr.write(`[${engine} ${seed}] the run itself failed: ${failure}\n`);
    } finally {
      releasePorts();
    }
  }
  return outcomes;
}

function describe(error: unknown): string {
  if (error instanceof DOMException && error.name === 'TimeoutError') return 'it had not ended when the time was over';
  if (error instanceof AggregateError) return [error.message, ...error.errors.map(describe)].join('\n  ');
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

// What a run that was stopped leaves waiting must not keep the process: its children end with it.
process.exit(await main());
