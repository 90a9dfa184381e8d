import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Load, Measured } from './load.ts';

/** The load generator's process: it stays up for the whole run, so that its own warm-up is in no measurement. */
export interface Generator extends AsyncDisposable {
  readonly pid: number;
  /** @throws Error when the process ends before its result */
  run(load: Load): Promise<Measured>;
}

/** Starts it, in the session of this process. */
export async function startGenerator(): Promise<Generator> {
  const child = fork(join(import.meta.dirname, 'generator-process.ts'), { stdio: 'inherit' });
  const ended = once(child, 'exit');
  await once(child, 'spawn');
  return {
    pid: child.pid ?? 0,
    async run(load) {
      const answer = once(child, 'message') as Promise<[Measured]>;
      child.send(load);
      const [result] = await Promise.race([answer, ended.then(([code]) => [`ended with ${String(code)}`] as const)]);
      if (typeof result === 'string') throw new Error(`the load generator ${result}`);
      return result;
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
