import { chmod, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { findServerBinary, serverVersion } from '../../support/server-binary.ts';
import { createTempDir, type TempDir } from '../../support/temp-dir.ts';

async function fakeServer(folder: TempDir, name: string, says: string): Promise<string> {
  const path = folder.join(name);
  await writeFile(path, `#!/bin/sh\necho '${says}'\n`);
  await chmod(path, 0o755);
  return path;
}

test('an exact path goes before everything else, and must work', async () => {
  await using folder = await createTempDir();
  const bin = await fakeServer(folder, 'mine', 'nats-server: v2.9.10');
  expect(await findServerBinary({ exact: bin })).toBe(bin);
  await expect(findServerBinary({ exact: folder.join('absent') })).rejects.toThrow(/NATS_SERVER_BIN is .*absent/);
});

test('folders are searched in order, then what was fetched earlier', async () => {
  await using folder = await createTempDir();
  await using cache = await createTempDir();
  const fetched = await fakeServer(cache, 'nats-server-debian', '');
  const search = { exact: undefined, folders: ['/nowhere', folder.path], cache: cache.path };
  expect(await findServerBinary(search)).toBe(fetched);
  const installed = await fakeServer(folder, 'nats-server', '');
  expect(await findServerBinary(search)).toBe(installed);
});

test('the version is what the binary says', async () => {
  await using folder = await createTempDir();
  expect(await serverVersion(await fakeServer(folder, 'new', 'nats-server: v2.12.0-RC.1'))).toBe('2.12.0-RC.1');
  await expect(serverVersion(await fakeServer(folder, 'odd', 'hello'))).rejects.toThrow(/says "hello"/);
});
