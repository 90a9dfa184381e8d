import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Engine } from './broker.ts';
import { check, type Verdict } from './checker.ts';
import { readHistory } from './history.ts';
import { inject } from './injector.ts';
import type { Options } from './options.ts';
import { planText, story, summary } from './report.ts';
import { type Fault, schedule } from './schedule.ts';
import { settle } from './settle.ts';
import { watchStarvation } from './starvation.ts';
import { System } from './system.ts';

/** Violations that are told in full; the others are in the file. */
const toldInFull = 5;

type Say = (text: string) => void;

/**
 * Runs one seed from start to verdict; nothing of it is left running.
 * @throws what `stop` was aborted with, or whatever kept the run from its end: nothing is proved then
 */
export async function runSeed(
  options: Options,
  engine: Engine,
  seed: number,
  root: string,
  stop: AbortSignal,
): Promise<Verdict> {
  const folder = join(root, `${engine}-${seed}`);
  mkdirSync(folder, { recursive: true });
  const say: Say = (text) => process.stdout.write(`[${engine} ${seed}] ${text}\n`);
  const { callers, ordered, calls } = options;
  say(`${calls} calls in ${options.seconds} s; histories and logs: ${folder}`);
  const system = await System.start({ engine, folder, callers, ordered, ownDisk: options.faults.includes('full') });
  const begin = Date.now();
  const endWatch = watchStarvation(system.file);
  try {
    await unlessStopped(play(system, options, seed, begin, folder, say), stop);
  } finally {
    endWatch();
    await system.stop();
  }
  const history = readHistory(...system.histories());
  writeFileSync(join(folder, 'history.jsonl'), history.map((event) => `${JSON.stringify(event)}\n`).join(''));
  const verdict = check(history);
  const stories = verdict.violations.map((violation) => story(violation, history, begin));
  writeFileSync(join(folder, 'verdict.txt'), [summary(verdict), ...stories, ''].join('\n\n'));
  for (const text of stories.slice(0, toldInFull)) say(text);
  if (stories.length > toldInFull) say(`… and ${stories.length - toldInFull} more in ${join(folder, 'verdict.txt')}`);
  for (const text of summary(verdict).split('\n')) say(text);
  return verdict;
}

/** Work and faults, until nothing moves any more. */
async function play(system: System, options: Options, seed: number, begin: number, folder: string, say: Say) {
  const { calls, faults, ordered } = options;
  const span = options.seconds * 1_000;
  if (system.broker.version !== undefined) say(`nats-server ${system.broker.version}`);
  for (const name of faults) {
    const why = system.broker.unfit[name];
    if (why !== undefined) say(`no fault ${name}: ${why}`);
  }
  await system.startCallers({ seed: String(seed), begin, span, ordered }, calls);
  const plan = schedule(String(seed), faults, system.targets(), span);
  writeFileSync(join(folder, 'schedule.txt'), planText(plan));
  say(`${plan.length} faults: ${tally(plan)}`);
  await inject(system, plan, begin);
  say('all faults have ended');
  await settle(system, say);
  writeFileSync(join(folder, 'broker.json'), JSON.stringify(await system.broker.diagnose(), undefined, 2));
}

async function unlessStopped(work: Promise<void>, stop: AbortSignal): Promise<void> {
  const stopped = Promise.withResolvers<never>();
  const abort = () => stopped.reject(stop.reason);
  if (stop.aborted) abort();
  stop.addEventListener('abort', abort, { once: true });
  try {
    await Promise.race([work, stopped.promise]);
  } finally {
    stop.removeEventListener('abort', abort);
  }
}

function tally(plan: readonly Fault[]): string {
  const counts = Map.groupBy(plan, ({ name }) => name);
  return [...counts].map(([name, { length }]) => `${name} ${length}`).join(', ') || 'none';
}
