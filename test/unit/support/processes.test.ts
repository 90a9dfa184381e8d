import { expect, test } from 'vitest';
import { expectNoLeaks } from '../../support/leaks.ts';
import { ManagedProcess } from '../../support/managed-process.ts';

const idle = 'process.on("SIGTERM", () => process.exit(7)); console.log("up"); setInterval(() => {}, 1000);';
const deaf = 'process.on("SIGTERM", () => {}); console.log("up"); setInterval(() => {}, 1000);';

async function start(script: string): Promise<ManagedProcess> {
  const child = await ManagedProcess.start({ label: 'idler', command: process.execPath, args: ['-e', script] });
  await child.printed(/up/);
  return child;
}

test('a process ends as it was asked to, and its output is kept', async () => {
  await using child = await start(idle);
  expect(await child.terminate()).toEqual({ code: 7, signal: null });
  expect(child.stdout).toBe('up\n');
  expect(child.obituary).toContain('idler has ended (exit code 7)');
});

test('a process that does not end when asked is killed, and that is an error', async () => {
  await using child = await start(deaf);
  await expect(child.terminate(50)).rejects.toThrow(/has not ended .* after SIGTERM; it was killed/);
  expect(child.exit).toEqual({ code: null, signal: 'SIGKILL' });
});

test('a suspended process can be killed, and a resumed one goes on', async () => {
  await using child = await start(idle);
  await child.suspend();
  child.resume();
  expect(await child.terminate()).toEqual({ code: 7, signal: null });
  await using other = await start(idle);
  await other.suspend();
  await other.kill9();
  expect(other.exit).toEqual({ code: null, signal: 'SIGKILL' });
});

test('a process that is left running fails the test and is killed', async () => {
  const child = await start(idle);
  expect(expectNoLeaks).toThrow(`left open by the test: process ${child.pid} (idler)`);
  expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
  expectNoLeaks();
});

test('a command that is not there is an error that names it', async () => {
  const missing = ManagedProcess.start({ label: 'nothing', command: '/nowhere/at/all', args: [] });
  await expect(missing).rejects.toThrow('cannot start nothing');
});
