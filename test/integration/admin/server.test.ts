import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { readdirSync } from 'node:fs';
import { createServer } from 'node:net';
import { extname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { assess, type Health } from '../../../sidecar/admin/health.ts';
import { createAdmin, type Admin } from '../../../sidecar/admin/server.ts';
import type { AdminConfig } from '../../../sidecar/config/config.ts';
import { freePort } from '../../support/free-port.ts';

let admin: Admin | undefined;
afterEach(() => admin?.close());

const loopback = { host: '127.0.0.1', port: 0 };

function healthOf(connected: boolean): Health {
  return assess({
    service: 'orders',
    instance: 'a1b2c',
    version: '0.1.0',
    phase: 'running',
    broker: { connected },
    outbound: { listeners: [], held: 0 },
    inbound: [],
    configuration: { loadedAt: 0 },
  });
}

async function open(config: Partial<AdminConfig> = {}, health: () => Promise<Health> = async () => healthOf(true)) {
  const metrics = async () => ({ text: 'holdline_held 0\n', type: 'text/plain; version=0.0.4; charset=utf-8' });
  admin = createAdmin(
    { listen: loopback, ...config },
    { health, metrics, operator: () => undefined, traceLink: () => undefined },
  );
  await admin.open();
  return admin;
}

/** Node's own client, because `fetch` does not let a test say which `Host` it asks. */
async function ask(path: string, headers: Record<string, string> = {}, method = 'GET') {
  const outgoing = request(`http://${admin!.address()}${path}`, { method, headers, agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const body = await text(response);
  const isJson = response.headers['content-type']?.startsWith('application/json');
  const content = body === '' ? undefined : isJson ? JSON.parse(body) : body;
  return { status: response.statusCode, headers: response.headers, body: content };
}

test('/live answers while nothing else does', async () => {
  await open({}, async () => healthOf(false));
  expect(await ask('/live')).toMatchObject({ status: 200, body: { live: true } });
});

test('/ready says 200 or 503, and why, in JSON', async () => {
  let connected = false;
  await open({}, async () => healthOf(connected));
  expect(await ask('/ready')).toMatchObject({
    status: 503,
    body: { ready: false, problems: ['the broker is not connected'] },
  });
  connected = true;
  expect(await ask('/ready')).toMatchObject({ status: 200, body: { ready: true, problems: [] } });
});

test('/metrics is text in the format of Prometheus', async () => {
  await open();
  const answer = await ask('/metrics');
  expect(answer).toMatchObject({ status: 200, body: 'holdline_held 0\n' });
  expect(answer.headers['content-type']).toBe('text/plain; version=0.0.4; charset=utf-8');
});

test('/ is a page that loads only its own files, may not be framed, and is there before the token is known', async () => {
  await open({ token: 'secret' });
  const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', svg: 'image/svg+xml' };
  const folder = join(import.meta.dirname, '../../../sidecar/admin/page');
  for (const file of readdirSync(folder)) {
    const answer = await ask(file === 'index.html' ? '/' : `/page/${file}`);
    expect([file, answer.status]).toEqual([file, 200]);
    const type = `${types[extname(file).slice(1) as keyof typeof types]}; charset=utf-8`;
    expect(answer.headers).toMatchObject({ 'content-type': type, 'x-content-type-options': 'nosniff' });
    expect(answer.headers['content-security-policy']).toMatch(/default-src 'none'.*frame-ancestors 'none'/);
  }
  const html = String((await ask('/')).body);
  const named = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path!);
  expect(named.filter((path) => !/^(#|\/page\/[a-z]+\.(css|js|svg)$)/.test(path))).toEqual([]);
  expect((await ask('/api/calls')).status).toBe(401);
});

test('what is not there is 404, what is not read with GET is 405, both in JSON', async () => {
  await open();
  for (const path of [
    '/live/',
    '/page',
    '/page/',
    '/page/page.ts',
    '/page/../page.ts',
    '/page/index.html',
    '/constructor',
    '/__proto__',
  ]) {
    expect(await ask(path)).toMatchObject({ status: 404, body: { error: expect.any(String) } });
  }
  const wrong = await ask('/ready', {}, 'POST');
  expect(wrong).toMatchObject({ status: 405, body: { error: expect.any(String) } });
  expect(wrong.headers['allow']).toBe('GET, HEAD');
});

test('HEAD is answered without a body', async () => {
  await open();
  expect(await ask('/ready', {}, 'HEAD')).toMatchObject({ status: 200, body: undefined });
});

test('a page of another site may neither read the answers nor come by a rebound name', async () => {
  await open();
  const foreign = await ask('/ready', { origin: 'https://evil.example' });
  expect(foreign.headers['access-control-allow-origin']).toBeUndefined();
  expect(await ask('/ready', { host: 'evil.example' })).toMatchObject({ status: 403 });
});

test('a token opens what is not for probes', async () => {
  await open({ token: 'secret' });
  expect(await ask('/live')).toMatchObject({ status: 200 });
  expect(await ask('/ready', { host: 'sidecar.internal' })).toMatchObject({ status: 200 });
  const closed = await ask('/metrics');
  expect(closed).toMatchObject({ status: 401 });
  expect(closed.headers['www-authenticate']).toBe('Bearer');
  expect(await ask('/metrics', { authorization: 'Bearer secret' })).toMatchObject({ status: 200 });
});

describe('the address', () => {
  test('that is taken is a clear error', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    try {
      await expect(open({ listen: { host: '127.0.0.1', port } })).rejects.toThrow(
        `admin.listen: cannot listen on 127.0.0.1:${port}: the port is already taken`,
      );
    } finally {
      taken.close();
      await once(taken, 'close');
    }
  });

  test('can change while it runs, and stays when the new one is taken', async () => {
    const running = await open();
    const before = running.address()!;
    const other = await freePort();
    await running.reconfigure({ listen: { host: '127.0.0.1', port: other } });
    expect(running.address()).toBe(`127.0.0.1:${other}`);
    expect(await ask('/live')).toMatchObject({ status: 200 });
    await expect(fetch(`http://${before}/live`)).rejects.toThrow('fetch failed');

    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as { port: number };
    try {
      await expect(running.reconfigure({ listen: { host: '127.0.0.1', port } })).rejects.toThrow('already taken');
      expect(running.address()).toBe(`127.0.0.1:${other}`);
      expect(await ask('/live')).toMatchObject({ status: 200 });
    } finally {
      taken.close();
      await once(taken, 'close');
    }
  });
});
