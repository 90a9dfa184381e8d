import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { freePort } from '../support/free-port.ts';
import { request } from '../support/http-client.ts';
import { ManagedProcess } from '../support/managed-process.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { createTempDir } from '../support/temp-dir.ts';
import { progress, publish, runCommand, thisMachine } from './command.ts';
import { whole } from './numbers.ts';
import { describeMachine, figure, table } from './report.ts';
import { median } from './statistics.ts';

/** How often to start. */
interface StartOptions {
  readonly rounds: number;
  readonly again: number;
  readonly json: string | undefined;
}

const usage = `npm run bench:start -- [options]

Time from the start of a sidecar's process until /ready says 200, with the broker running.

  --rounds N   how often with an empty compile cache and an empty broker (default 5)
  --again N    how often after that, each time (default 4)
  --json FILE  where the results go (default start.json in the temporary folder)`;

function read(args: readonly string[]): StartOptions | 'help' {
  const { values } = parseArgs({
    args: [...args],
    options: {
      rounds: { type: 'string', default: '5' },
      again: { type: 'string', default: '4' },
      json: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return 'help';
  return { rounds: whole('rounds', values.rounds), again: whole('again', values.again), json: values.json };
}

/** Times in ms, of one broker. */
class Times {
  readonly first: number[] = [];
  readonly later: number[] = [];
}

/** How often `/ready` is asked, ms: what a time is too long by, at most. */
const askEvery = 5;

/** Starts a sidecar, and returns how long it took, in ms. It is stopped in good order, as a rollout would. */
async function startOnce(file: string, admin: number, compileCache: string): Promise<number> {
  const begin = performance.now();
  await using sidecar = await ManagedProcess.start({
    label: 'sidecar',
    command: process.execPath,
    args: [join(import.meta.dirname, '../../sidecar/main.ts'), 'run', '--config', file],
    env: { NODE_COMPILE_CACHE: compileCache },
  });
  while (!(await saysReady(admin))) {
    if (sidecar.obituary !== undefined) throw new Error(sidecar.obituary);
    await pause(askEvery);
  }
  const took = performance.now() - begin;
  await sidecar.terminate();
  return took;
}

async function saysReady(admin: number): Promise<boolean> {
  try {
    return (await request(`http://127.0.0.1:${admin}/ready`)).status === 200;
  } catch {
    // Nobody listens yet; whether the process still runs is seen where this is asked.
    return false;
  }
}

async function run({ rounds, again, json }: StartOptions): Promise<number> {
  const found = { JetStream: new Times(), SQLite: new Times() };
  for (let round = 1; round <= rounds; round++) {
    for (const [name, times] of Object.entries(found)) {
      await using folder = await createTempDir('bench-start');
      await using stack = new AsyncDisposableStack();
      const broker =
        name === 'SQLite' ? `sqlite:${folder.join('holdline.db')}` : stack.use(await startNatsServer()).url;
      const [outbound, admin] = [await freePort(), await freePort()];
      const config = {
        service: 'orders',
        broker,
        inbound: [{ url: 'http://127.0.0.1:9' }],
        outbound: { listen: `127.0.0.1:${outbound}` },
        admin: { listen: `127.0.0.1:${admin}` },
      };
      await writeFile(folder.join('orders.yaml'), JSON.stringify(config));
      await mkdir(folder.join('compiled'));
      const start = () => startOnce(folder.join('orders.yaml'), admin, folder.join('compiled'));
      times.first.push(await start());
      for (let more = 1; more <= again; more++) times.later.push(await start());
      progress(
        `round ${round}, ${name}: first ${figure(times.first.at(-1) ?? 0)} ms, later ${figure(median(times.later))} ms`,
      );
    }
  }
  const machine = thisMachine();
  const rows = Object.entries(found).flatMap(([name, times]) =>
    (['first', 'later'] as const).map((when) => {
      const all = times[when];
      return [`${name}, ${when}`, String(all.length), ...[median(all), Math.min(...all), Math.max(...all)].map(figure)];
    }),
  );
  const head = ['broker, start', 'starts', 'median ms', 'shortest', 'longest'];
  const text = `${describeMachine(machine)}; from the start of the process until /ready says 200.\n\n${table(head, rows)}`;
  await publish(text, { version: 1, at: new Date().toISOString(), machine, found }, json, 'start.json');
  return 0;
}

process.exitCode = await runCommand({ usage, read, run });
