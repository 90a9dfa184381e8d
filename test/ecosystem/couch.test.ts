import { createHash, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { request } from '../support/http-client.ts';
import { createTempDir, type TempDir } from '../support/temp-dir.ts';
import { environmentOf, run, start } from './programs.ts';
import { startStage, type Stage } from './stage.ts';

const COUNT = 250;

let folder: TempDir;
let stage: Stage;

const program = (name: string) => join(import.meta.dirname, 'programs', `${name}.cjs`);
const node = (name: string, ...args: readonly string[]) =>
  run([process.execPath, program(name), ...args], { env: environmentOf('npm') });

beforeAll(async () => {
  folder = await createTempDir('couch');
  await mkdir(folder.join('server'));
  stage = await startStage({
    label: 'express-pouchdb',
    command: (port) => [process.execPath, program('couch-server'), String(port), folder.join('server')],
    env: environmentOf('npm'),
    routes: [
      // A long poll stays open until something changes: no answer to wait for and to store.
      { name: 'feed', match: { host: 'passed', path: '/*/_changes' }, mode: 'passthrough' },
      // Replication sends revisions that have their numbers already, so that what comes twice is there once.
      ...['callee', 'passed'].map((host) => ({ name: host, match: { host }, service: 'callee', idempotent: true })),
    ],
  });
  await writeFile(folder.join('invoice.pdf'), randomBytes(2_000_000));
  await node('fill', folder.join('local'), String(COUNT), folder.join('invoice.pdf'));
});

afterAll(async () => {
  await stage?.[Symbol.asyncDispose]();
  await folder?.remove();
});

test('PouchDB replicates both ways, and the server dies each time with what it has done unsaid', async () => {
  const [pushed] = await Promise.all([
    node('replicate', 'push', `${stage.url}/orders`, folder.join('local')),
    stage.crash('answer', /^POST \/orders\/_bulk_docs/),
  ]);
  expect(JSON.parse(pushed)).toEqual({ ok: true, docs_written: COUNT, doc_write_failures: 0 });
  const [pulled] = await Promise.all([
    node('replicate', 'pull', `${stage.url}/orders`, folder.join('copy')),
    stage.crash('answer', /^POST \/orders\/_bulk_get/),
  ]);
  expect(JSON.parse(pulled)).toEqual({ ok: true, docs_written: COUNT, doc_write_failures: 0 });
  const [local, copy] = await Promise.all(['local', 'copy'].map((name) => node('contents', folder.join(name))));
  expect(copy).toBe(local);
  expect(JSON.parse(copy!)).toMatchObject({
    count: COUNT,
    sent: true,
    sha256: createHash('sha256')
      .update(readFileSync(folder.join('invoice.pdf')))
      .digest('hex'),
  });
});

test('a follower on a passthrough route for its long polls hears of changes at once, also after the server died', async () => {
  const put = async (id: string) => {
    const { status } = await request(`${stage.url}/live/${id}`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/json' },
      body: '{}',
    });
    expect(status).toBe(201);
  };
  expect((await request(`${stage.url}/live`, { method: 'PUT' })).status).toBe(201);
  await put('first');
  await using follower = await start(
    [process.execPath, program('follow'), `${stage.passedUrl}/live`, folder.join('followed')],
    { env: environmentOf('npm') },
  );
  await follower.printed(/^first\n(.*\n)*waiting\n/m);
  await put('second');
  await follower.printed(/^second$/m);
  await Promise.all([stage.crash('request', /^PUT \/live\/third/), put('third')]);
  await follower.printed(/^third$/m);
  await put('fourth');
  await follower.printed(/^fourth$/m);
  expect(follower.stderr).toBe('');
});
