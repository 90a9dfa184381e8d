import { execFileSync } from 'node:child_process';
import { constants } from 'node:fs';
import { open, readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { ManagedProcess } from '../../support/managed-process.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';

const config = { service: 'orders', broker: 'sqlite:./calls.db', inbound: [{ url: 'http://127.0.0.1:9' }] };

/** The arguments with which a process runs, and one of its environment variables. */
async function startOf(pid: number): Promise<{ args: string[]; cache: string | undefined }> {
  const args = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
  const variables = (await readFile(`/proc/${pid}/environ`, 'utf8')).split('\0');
  return { args, cache: variables.find((one) => one.startsWith('NODE_COMPILE_CACHE='))?.split('=')[1] };
}

test.runIf(process.platform === 'linux')('run limits the young generation and keeps what was compiled', async () => {
  await using folder = await createTempDir('cache');
  await using sidecar = await startSidecar(config, { env: { NODE_COMPILE_CACHE: folder.path } });
  expect(await startOf(sidecar.pid)).toEqual({
    args: expect.arrayContaining(['--max-semi-space-size=16', 'run', '--config', sidecar.file]),
    cache: folder.path,
  });
  await sidecar.kill9();
  expect((await readdir(folder.path, { recursive: true })).length).toBeGreaterThan(50);
});

test.runIf(process.platform === 'linux')('a semi-space that the user has chosen stays', async () => {
  await using sidecar = await startSidecar(config, { env: { NODE_OPTIONS: '--max-semi-space-size=8' } });
  const { args } = await startOf(sidecar.pid);
  expect(args).not.toContain('--max-semi-space-size=16');
});

test.runIf(process.platform === 'linux')('SIGHUP does not end a sidecar that is still starting', async () => {
  await using folder = await createTempDir('early');
  // A start that stands still where it reads its configuration.
  const file = join(folder.path, 'orders.yaml');
  execFileSync('sh', ['-c', 'mkfifo "$0"', file]);
  await using starting = await ManagedProcess.start({
    label: 'a sidecar that waits for its configuration',
    command: process.execPath,
    args: [join(import.meta.dirname, '../../../sidecar/main.ts'), 'run', '--config', file],
  });
  // Can be opened without waiting only when somebody reads.
  const writer = await eventually(() => open(file, constants.O_WRONLY | constants.O_NONBLOCK), {
    what: 'the configuration to be read',
    timeoutMs: 30_000,
  });
  const status = await readFile(`/proc/${starting.pid}/status`, 'utf8');
  const caught = BigInt(`0x${/^SigCgt:\s*([0-9a-f]+)$/m.exec(status)![1]}`);
  await starting.kill9();
  await writer.close();
  // The lowest bit is signal 1, SIGHUP (proc(5)).
  expect(caught & 1n).toBe(1n);
});
