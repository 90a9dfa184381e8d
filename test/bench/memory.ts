import { check } from './check.ts';
import { type Machine, progress, publish, runCommand, thisMachine } from './command.ts';
import { startGenerator } from './generator.ts';
import { install, startListening } from './installations.ts';
import { type MemoryOptions, memoryUsage, readMemoryOptions } from './memory-options.ts';
import { type Sample, trend } from './memory-trend.ts';
import { usageOf } from './meter.ts';
import { describeMachine, figure, table } from './report.ts';

/** What one process had. */
interface PartMemory {
  readonly name: string;
  readonly samples: readonly Sample[];
}

/** Makes the calls in as many parts as there are samples, and reads memory after each of them. */
async function run(options: MemoryOptions): Promise<number> {
  const { subject, calls, connections, samples } = options;
  await using stack = new AsyncDisposableStack();
  const callee = await startListening(stack, 'callee', 'callee-process.ts');
  const generator = stack.use(await startGenerator());
  const url = `http://127.0.0.1:${callee.port}`;
  const installed = await install(subject.on, stack, { url, profiles: undefined });
  if (typeof installed === 'string') throw new Error(`${subject.name} cannot be measured: ${installed}`);
  await check(subject, installed.port);
  const { path, bodyBytes, keyed, status } = subject;
  const load = { port: installed.port, path, bodyBytes, keyed, status, connections, warmUpMs: 0, measureMs: 3_600_000 };
  const parts = [...installed.parts, ...callee.parts];
  const found = parts.map(({ name, pid }) => ({ name, pid, samples: [] as Sample[] }));
  const begin = performance.now();
  let made = 0;
  for (let sample = 1; sample <= samples; sample++) {
    const due = Math.round((calls * sample) / samples) - made;
    const { total, failed, failure } = await generator.run({ ...load, calls: due });
    if (failed > 0 || total < due) throw new Error(`${failed} calls failed; the first: ${failure}`);
    made += total;
    for (const each of found) {
      each.samples.push({ calls: made, memoryMB: (usageOf(each.pid)?.memory ?? Number.NaN) / 2 ** 20 });
    }
    progress(
      `${made} calls: ${found.map((each) => `${each.name} ${figure(each.samples.at(-1)?.memoryMB ?? 0)} MB`).join(', ')}`,
    );
  }
  const results = {
    version: 1,
    at: new Date().toISOString(),
    machine: thisMachine(),
    subject: subject.name,
    connections,
    calls: made,
    seconds: (performance.now() - begin) / 1000,
    parts: found.map(({ name, samples: own }) => ({ name, samples: own, trend: trend(own) })),
  };
  await publish(describe(results), results, options.json, 'memory.json');
  return 0;
}

function describe(results: {
  readonly machine: Machine;
  readonly subject: string;
  readonly connections: number;
  readonly calls: number;
  readonly seconds: number;
  readonly parts: readonly PartMemory[];
}): string {
  const { machine, subject, connections, calls, seconds, parts } = results;
  const rows = parts.map(({ name, samples }) => {
    const { first, most, end, per100000, grows } = trend(samples);
    return [name, ...[first, most, end].map(figure), per100000.toFixed(1), grows ? 'yes' : 'no'];
  });
  const head = ['process', 'MB at first', 'at most', 'at the end', 'with 100,000 more calls', 'still grows'];
  return (
    `${describeMachine(machine)}; ${calls.toLocaleString('en')} calls of \`${subject}\` at ${connections} connections ` +
    `in ${seconds.toFixed(0)} s.\n\n${table(head, rows)}`
  );
}

process.exitCode = await runCommand({ usage: memoryUsage, read: readMemoryOptions, run });
