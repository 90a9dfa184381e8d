import { check } from './check.ts';
import { progress, publish, runCommand, thisMachine } from './command.ts';
import { startGenerator } from './generator.ts';
import { installPoint } from './growth-installations.ts';
import { type GrowthOptions, growthUsage, type Point, readGrowthOptions } from './growth-options.ts';
import { describeGrowth, type GrowthResults, nameOf } from './growth-report.ts';
import { install, startListening } from './installations.ts';
import { type Bench, type Measurement, measure } from './measurement.ts';
import { summarise } from './results.ts';
import { choose, type Subject } from './subjects.ts';

const [proxied, durable] = choose(['proxy-2', 'idempotent']) as [Subject, Subject];

/** The call that is measured at a point. */
function subjectAt(point: Point, of: Subject): Subject {
  return point.dimension === 'bodies' ? { ...of, bodyBytes: point.at } : of;
}

/** Each point has its own broker and sidecars; the two proxy hops that it is compared with are there all the time. */
async function run(options: GrowthOptions): Promise<number> {
  await using stack = new AsyncDisposableStack();
  const callee = await startListening(stack, 'callee', 'callee-process.ts');
  const url = `http://127.0.0.1:${callee.port}`;
  const bench: Bench = {
    callee,
    generator: stack.use(await startGenerator()),
    warmUpMs: options.warmUpSeconds * 1000,
    measureMs: options.seconds * 1000,
  };
  const proxies = await install('proxy-2', stack, { url, profiles: undefined });
  if (typeof proxies === 'string') throw new Error(proxies);
  const measurements: Measurement[] = [];
  for (const [index, point] of options.points.entries()) {
    await using own = new AsyncDisposableStack();
    const installed = await installPoint(point, own, url, bench.generator);
    const pair = [
      [subjectAt(point, proxied), proxies],
      [{ ...subjectAt(point, durable), name: nameOf(point) }, installed],
    ] as const;
    for (const [subject, { port }] of pair) await check(subject, port);
    // Round 0 warms up. Rounds of one point are compared with each other only, so none has the number of another.
    for (let round = 0; round <= options.rounds; round++) {
      for (const [subject, place] of round % 2 === 1 ? pair : pair.toReversed()) {
        const unique = index * (options.rounds + 1) + round;
        const measurement = await measure(bench, subject, place, options.connections, unique);
        if (measurement.failed > 0) {
          throw new Error(`${subject.name}: ${measurement.failed} calls failed; the first: ${measurement.failure}`);
        }
        if (round > 0) measurements.push(measurement);
      }
    }
    progress(`${nameOf(point)} measured`);
  }
  const subjects = options.points.map((point) => ({ ...durable, name: nameOf(point) }));
  const results: GrowthResults = {
    version: 1,
    at: new Date().toISOString(),
    machine: thisMachine(),
    connections: options.connections,
    seconds: options.seconds,
    rounds: options.rounds,
    points: options.points,
    results: summarise(subjects, measurements),
    measurements,
  };
  await publish(describeGrowth(results), results, options.json, 'growth.json');
  return 0;
}

process.exitCode = await runCommand({ usage: growthUsage, read: readGrowthOptions, run });
