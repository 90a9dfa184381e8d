import { randomBytes } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { request } from '../support/http-client.ts';
import { createTempDir, type TempDir } from '../support/temp-dir.ts';
import { programFolder, proxyVariables, run } from './programs.ts';
import { startStage, type Stage } from './stage.ts';

let folder: TempDir;
let stage: Stage;
let token: string;
/** What the package consists of besides its manifest: more than is stored in one piece, each way. */
const table = randomBytes(1_500_000);

/** Runs npm for a user with a registry of this URL; it makes no second try of its own. */
async function npm(registry: string, cwd: string, args: readonly string[], env: Record<string, string> = {}) {
  const userconfig = join(cwd, '.user-npmrc');
  const lines = [
    `registry=${registry}/`,
    `//${new URL(registry).host}/:_authToken=${token}`,
    // A cache of its own: what was published from here is not to be found there.
    `cache=${join(cwd, '.cache')}`,
    'fetch-retries=0',
    'audit=false',
    'fund=false',
    'update-notifier=false',
  ];
  await writeFile(userconfig, lines.join('\n'));
  return run(['npm', ...args], { cwd, env: { npm_config_userconfig: userconfig, ...env } });
}

async function writePackage(version: string): Promise<string> {
  const path = folder.join('money');
  await mkdir(path, { recursive: true });
  const manifest = { name: '@shop/money', version, main: 'table.bin', files: ['table.bin'] };
  await writeFile(join(path, 'package.json'), JSON.stringify(manifest));
  await writeFile(join(path, 'table.bin'), table);
  return path;
}

async function consumer(name: string): Promise<string> {
  const path = folder.join(name);
  await mkdir(path);
  await writeFile(join(path, 'package.json'), JSON.stringify({ name, version: '1.0.0', private: true }));
  return path;
}

const installed = (path: string) => readFile(join(path, 'node_modules/@shop/money/table.bin'));

beforeAll(async () => {
  folder = await createTempDir('registry');
  await writeFile(
    folder.join('config.yaml'),
    stringify({
      storage: folder.join('storage'),
      auth: { htpasswd: { file: folder.join('htpasswd') } },
      uplinks: {},
      packages: { '**': { access: '$authenticated', publish: '$authenticated', unpublish: '$authenticated' } },
      log: { type: 'stdout', level: 'http' },
    }),
  );
  const verdaccio = join(programFolder('npm'), 'node_modules/verdaccio/bin/verdaccio');
  stage = await startStage({
    label: 'verdaccio',
    command: (port) => [
      process.execPath,
      verdaccio,
      '--config',
      folder.join('config.yaml'),
      '--listen',
      `127.0.0.1:${port}`,
    ],
    cwd: folder.path,
  });
  // What `npm adduser` sends; the program itself asks its questions on a terminal only.
  const user = await request(`${stage.url}/-/user/org.couchdb.user:alice`, {
    method: 'PUT',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ name: 'alice', password: 'correct horse', email: 'alice@example.org', type: 'user' }),
  });
  expect(user.status).toBe(201);
  ({ token } = user.json() as { token: string });
});

afterAll(async () => {
  await stage?.[Symbol.asyncDispose]();
  await folder?.remove();
});

test('npm publishes and installs while the registry dies in the middle of both', async () => {
  await Promise.all([
    npm(stage.url, await writePackage('1.0.0'), ['publish', '--access', 'public']),
    stage.crash('request', /^PUT \/@shop%2fmoney/),
  ]);
  expect(await npm(stage.url, folder.path, ['whoami'])).toBe('alice\n');
  const path = await consumer('till');
  await Promise.all([
    npm(stage.url, path, ['install', '@shop/money']),
    stage.crash('answer', /^GET \/@shop\/money\/-\/money-1\.0\.0\.tgz/),
  ]);
  expect((await installed(path)).equals(table)).toBe(true);
  // The registry names itself by the Host that it was asked with: the caller's.
  const lock = JSON.parse(await readFile(join(path, 'package-lock.json'), 'utf8')) as { packages: object };
  expect(lock.packages).toMatchObject({
    'node_modules/@shop/money': { resolved: `${stage.url}/@shop/money/-/money-1.0.0.tgz` },
  });
});

test('npm works through HTTP_PROXY, with the registry under its own name', async () => {
  const registry = 'http://callee';
  const env = proxyVariables(stage.proxy);
  await npm(registry, await writePackage('2.0.0'), ['publish', '--access', 'public', '--tag', 'next'], env);
  await npm(registry, folder.path, ['dist-tag', 'add', '@shop/money@2.0.0', 'latest'], env);
  const path = await consumer('kiosk');
  await npm(registry, path, ['install', '@shop/money'], env);
  expect((await installed(path)).equals(table)).toBe(true);
  expect(await readFile(join(path, 'package-lock.json'), 'utf8')).toContain(
    '"resolved": "http://callee/@shop/money/-/money-2.0.0.tgz"',
  );
  await npm(registry, folder.path, ['unpublish', '@shop/money@2.0.0', '--force'], env);
  expect(JSON.parse(await npm(registry, folder.path, ['view', '@shop/money', 'versions', '--json'], env))).toEqual([
    '1.0.0',
  ]);
});
