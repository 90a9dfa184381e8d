import { readFile } from 'node:fs/promises';
import { check } from './check.ts';
import { progress, publish, runCommand, thisMachine } from './command.ts';
import { startGenerator } from './generator.ts';
import { install, type Installed, startListening } from './installations.ts';
import { type Bench, type Measurement, measure } from './measurement.ts';
import { type Options, readOptions, usage } from './options.ts';
import { comparison, describe } from './report.ts';
import { regressions, type Results, summarise } from './results.ts';
import { connectionsOf, type Installation, type Subject } from './subjects.ts';

/**
 * Measures what the options say. Everything runs at once and rests while it is not its turn, and everything is a child
 * of this process, so that it is in one session: Linux shares the CPU out to sessions as groups first (sched(7),
 * autogroup), and a subject with a session of its own would get another share than one without.
 */
async function run(options: Options): Promise<Results> {
  await using stack = new AsyncDisposableStack();
  const callee = await startListening(stack, 'callee', 'callee-process.ts');
  const bench: Bench = {
    callee,
    generator: stack.use(await startGenerator()),
    warmUpMs: options.warmUpSeconds * 1000,
    measureMs: options.seconds * 1000,
  };
  const there = await ready(options, stack, callee);
  const measurements: Measurement[] = [];
  // Before the first round, so that it is not the one in which everything was still being compiled.
  const [few = 32] = options.connections.filter((count) => count >= 16);
  for (const [subject, installed] of there) {
    const settling = { ...bench, measureMs: options.settleSeconds * 1000 };
    await measure(settling, subject, installed, Math.min(few, subject.mostConnections), 0);
  }
  progress('warmed up');
  const counts = [...new Set(there.flatMap(([subject]) => connectionsOf(subject, options.connections)))];
  for (let round = 1; round <= options.rounds; round++) {
    // Back and forth, so that no subject always comes right after the same other one.
    const order = round % 2 === 1 ? there : there.toReversed();
    for (const connections of counts.toSorted((a, b) => a - b)) {
      for (const [subject, installed] of order) {
        if (!connectionsOf(subject, options.connections).includes(connections)) continue;
        const measurement = await measure(bench, subject, installed, connections, round);
        measurements.push(measurement);
        progress(`round ${round}, ${connections} connections, ${subject.name}: ${measurement.perSecond.toFixed(0)}/s`);
        if (measurement.failed > 0) {
          throw new Error(`${subject.name}: ${measurement.failed} calls failed; the first: ${measurement.failure}`);
        }
      }
    }
  }
  return {
    version: 1,
    at: new Date().toISOString(),
    machine: thisMachine(),
    seconds: options.seconds,
    rounds: options.rounds,
    results: summarise(options.subjects, measurements),
    measurements,
  };
}

/** Starts what the subjects need, and checks each of them; leaves out what this machine has no program for. */
async function ready(
  options: Options,
  stack: AsyncDisposableStack,
  callee: Installed,
): Promise<readonly (readonly [Subject, Installed])[]> {
  const started = new Map<Installation, Installed | string>();
  const there: (readonly [Subject, Installed])[] = [];
  for (const subject of options.subjects) {
    const url = `http://127.0.0.1:${callee.port}`;
    const installed = started.get(subject.on) ?? (await install(subject.on, stack, { url, profiles: options.profile }));
    started.set(subject.on, installed);
    if (typeof installed === 'string') {
      progress(`${subject.name} is left out: ${installed}`);
      continue;
    }
    await check(subject, installed.port);
    there.push([subject, installed]);
  }
  progress(`${there.length} subjects answer correctly`);
  return there;
}

/** Exit codes: 0 measured, 1 a failure or, with `--quick`, a ratio below its floor. */
async function command(options: Options): Promise<number> {
  const earlier = options.compare && (JSON.parse(await readFile(options.compare, 'utf8')) as Results);
  const results = await run(options);
  const text = earlier ? `${describe(results)}\n\n${comparison(earlier, results)}` : describe(results);
  await publish(text, results, options.json, 'bench.json');
  const complaints = options.quick ? regressions(results.results) : [];
  for (const complaint of complaints) process.stderr.write(`${complaint}\n`);
  return complaints.length > 0 ? 1 : 0;
}

process.exitCode = await runCommand({ usage, read: readOptions, run: command });
