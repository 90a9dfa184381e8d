import { mkdir } from 'node:fs/promises';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { request } from '../support/http-client.ts';
import { createTempDir, type TempDir } from '../support/temp-dir.ts';
import { environmentOf, proxyVariables, run, unavailable } from './programs.ts';
import { startStage, type Stage } from './stage.ts';

const programs = join(import.meta.dirname, 'programs');

/** An HTTP client, and in which of the ways of `sidecar/docs/interception.md` its calls are durable. */
interface Client {
  readonly name: string;
  readonly by: 'proxy variables' | 'base URL';
  readonly program: 'node' | 'python3' | 'curl';
}

const clients: readonly Client[] = [
  { name: 'curl', by: 'proxy variables', program: 'curl' },
  ...['urllib', 'requests', 'httpx', 'aiohttp'].map(
    (name) => ({ name, by: 'proxy variables', program: 'python3' }) as const,
  ),
  ...['axios', 'got', 'undici EnvHttpProxyAgent', 'http.request'].map(
    (name) => ({ name, by: 'proxy variables', program: 'node' }) as const,
  ),
  ...['axios', 'got', 'undici', 'fetch', 'http.request'].map(
    (name) => ({ name, by: 'base URL', program: 'node' }) as const,
  ),
  { name: 'requests', by: 'base URL', program: 'python3' },
];

function isThere(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Why a client cannot be tried on this machine. */
function obstacle({ program }: Client): string | undefined {
  if (program === 'python3') return unavailable('python');
  return program === 'curl' && !isThere('curl') ? 'there is no curl' : undefined;
}

let folder: TempDir;
let stage: Stage;

beforeAll(async () => {
  folder = await createTempDir('clients');
  await mkdir(folder.join('server'));
  stage = await startStage({
    label: 'express-pouchdb',
    command: (port) => [process.execPath, join(programs, 'couch-server.cjs'), String(port), folder.join('server')],
    env: environmentOf('npm'),
  });
  expect((await request(`${stage.url}/people`, { method: 'PUT' })).status).toBe(201);
});

afterAll(async () => {
  await stage?.[Symbol.asyncDispose]();
  await folder?.remove();
});

/** Has a client put a document and get it; resolves with what it got, and the id of that call. */
async function visit({ name, by, program }: Client): Promise<{ callId: string; document: object }> {
  const base = by === 'base URL' ? stage.url : 'http://callee';
  const url = `${base}/people/${encodeURIComponent(`${name} by ${by}`)}`;
  const env = {
    ...(by === 'proxy variables' && proxyVariables(stage.proxy)),
    ...(program !== 'curl' && environmentOf(program === 'node' ? 'npm' : 'python')),
  };
  if (program === 'curl') {
    const put = ['-X', 'PUT', '-H', 'Content-Type: application/json', '--data', '{"from":"curl"}'];
    await run(['curl', '--silent', '--show-error', '--fail', ...put, url], { env });
    const [head = '', body = ''] = (await run(['curl', '--silent', '--fail', '--include', url], { env })).split(
      '\r\n\r\n',
    );
    return { callId: /^Holdline-Call-Id: (\S+)/im.exec(head)?.[1] ?? '', document: JSON.parse(body) as object };
  }
  const file = program === 'node' ? 'client.cjs' : 'client.py';
  return JSON.parse(await run([program, join(programs, file), name, url], { env })) as Awaited<
    ReturnType<typeof visit>
  >;
}

test('every client has what it put, although the server died while the documents of all were on their way', async () => {
  const there = clients.filter((client) => obstacle(client) === undefined);
  for (const client of clients.filter((other) => !there.includes(other)))
    process.stderr.write(`ecosystem: SKIPPED, ${client.name}: ${obstacle(client)}\n`);
  const [documents] = await Promise.all([
    Promise.all(there.map(visit)),
    stage.crash('request', /^PUT \/people\//, there.length),
  ]);
  const from = { node: 'Node', python3: 'Python', curl: 'curl' };
  expect(documents.map(({ document }) => document)).toMatchObject(
    there.map(({ name, by, program }) => ({ _id: `${name} by ${by}`, from: from[program] })),
  );
  // Every one of these calls went through the broker.
  expect(documents.map(({ callId }) => callId)).toEqual(there.map(() => expect.stringMatching(/^[0-9a-f-]{36}$/)));
});
