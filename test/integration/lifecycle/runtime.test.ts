import { readFile, readdir } from 'node:fs/promises';
import { expect, test } from 'vitest';
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
