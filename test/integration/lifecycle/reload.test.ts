import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { createLatch } from '../../support/latch.ts';
import { request } from '../../support/http-client.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { startUpstream } from '../../support/upstream.ts';

let server: NatsServer;
beforeAll(async () => {
  server = await startNatsServer();
});
afterAll(async () => server[Symbol.asyncDispose]());

const routes = [{ name: 'charge', match: { method: 'POST' } }];
let count = 0;
/** A callee of its own for each test. */
const callee = () => `payments-${++count}`;

async function logged(sidecar: SidecarProcess, message: string, times = 1): Promise<void> {
  await eventually(() => expect(sidecar.logs.split(message).length - 1).toBeGreaterThanOrEqual(times), {
    what: `the log to say ${message}`,
  });
}

async function health(sidecar: SidecarProcess): Promise<unknown> {
  const answer = await request(`${sidecar.adminUrl}/ready`);
  return { status: answer.status, body: answer.json() };
}

test('a changed file is applied while calls go on', async () => {
  const service = callee();
  const gate = createLatch();
  await using first = await startUpstream(async () => {
    await gate.wait();
    return { body: 'first' };
  });
  await using second = await startUpstream({ body: 'second' });
  const config = {
    service,
    broker: server.url,
    outbound: { routes: [{ match: { path: '/closed/**' }, mode: 'passthrough' }], unmatched: 'deny' },
    inbound: [{ url: first.url }],
  };
  await using sidecar = await startSidecar(config);
  const call = (path: string) => request(`http://${service}${path}`, { method: 'POST', proxy: sidecar.outboundUrl });
  expect((await call('/charges')).header('holdline-error')).toBe('not-routed');

  await sidecar.configure({ ...config, outbound: { routes } });
  await logged(sidecar, 'configuration reloaded');
  const before = call('/charges');
  await first.received(1);

  await sidecar.configure({ ...config, outbound: { routes }, inbound: [{ url: second.url, concurrency: 2 }] });
  await logged(sidecar, 'configuration reloaded', 2);
  expect(await call('/charges')).toMatchObject({ status: 200, text: 'second' });
  gate.open();
  expect(await before).toMatchObject({ status: 200, text: 'first' });
});

test('a listener moves, opens and closes live', async () => {
  const inbound = [{ url: 'http://127.0.0.1:1' }];
  const config = { service: 'orders', broker: server.url, outbound: { routes }, inbound };
  await using sidecar = await startSidecar(config);
  const former = sidecar.outboundUrl;
  const port = await freePort();
  await sidecar.configure({ ...config, outbound: { routes, listen: `127.0.0.1:${port}`, unmatched: 'deny' } });
  await logged(sidecar, 'configuration reloaded');
  expect((await request(`http://127.0.0.1:${port}/`)).header('holdline-error')).toBe('not-routed');
  await expect(request(former)).rejects.toThrow(/ECONNREFUSED/);

  const { outbound: _, ...without } = config;
  await sidecar.configure(without);
  await logged(sidecar, 'configuration reloaded', 2);
  await expect(request(`http://127.0.0.1:${port}/`)).rejects.toThrow(/ECONNREFUSED/);
  expect(await health(sidecar)).toMatchObject({ status: 200, body: { outbound: { listeners: [], held: 0 } } });
});

test('an invalid file is refused as a whole: the old one goes on, all is told, and the sidecar stays ready', async () => {
  const config = { service: 'orders', broker: server.url, outbound: { routes, unmatched: 'deny' } };
  await using sidecar = await startSidecar(config);
  await sidecar.configure({ ...config, outbound: { routes: 'none', unmatched: 'passthrough', hold: 1 } });
  await logged(sidecar, 'changed configuration refused');
  expect(await health(sidecar)).toMatchObject({
    status: 200,
    body: {
      ready: true,
      problems: [expect.stringContaining('a changed configuration was refused')],
      configuration: {
        lastReloadError: {
          at: expect.stringMatching(/^\d{4}-/),
          errors: [expect.stringContaining(sidecar.file), expect.stringContaining(sidecar.file)],
        },
      },
    },
  });
  expect((await request(`${sidecar.outboundUrl}/`)).header('holdline-error')).toBe('not-routed');

  await sidecar.configure(config);
  await eventually(async () => expect(await health(sidecar)).toMatchObject({ body: { problems: [] } }), {
    what: 'the refusal to be history once the file is good again',
  });
});

test.each([
  ['service', /^service: orders$/m, 'service: shop'],
  ['broker', /^broker: .*$/m, 'broker: nats://127.0.0.1:1'],
])('another %s needs a restart, and says so', async (part, line, changed) => {
  const config = { service: 'orders', broker: server.url, outbound: { routes } };
  await using sidecar = await startSidecar(config);
  const text = await readFile(sidecar.file, 'utf8');
  await writeFile(sidecar.file, text.replace(line, changed));
  await logged(sidecar, `${part}: a change needs a restart`);
  expect(await health(sidecar)).toMatchObject({ status: 200, body: { service: 'orders' } });
});

test('a port that is taken refuses the reload, and nothing of it is applied', async () => {
  const config = { service: 'orders', broker: server.url, outbound: { routes, unmatched: 'deny' } };
  await using sidecar = await startSidecar(config);
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as { port: number };
  const former = { outbound: sidecar.outboundUrl, admin: sidecar.adminUrl };
  try {
    await sidecar.configure({ ...config, outbound: { routes }, admin: { listen: `127.0.0.1:${port}` } });
    await logged(sidecar, 'changed configuration refused');
    const { status, text } = await request(`${former.admin}/ready`);
    expect({ status, text }).toMatchObject({ status: 200, text: expect.stringContaining('already taken') });
    expect((await request(`${former.outbound}/`)).header('holdline-error')).toBe('not-routed');
  } finally {
    taken.close();
    await once(taken, 'close');
  }
});

test('SIGHUP reads the file again, also when nothing has changed', async () => {
  const config = {
    service: 'orders',
    broker: server.url,
    outbound: { routes },
    telemetry: { log: { level: 'debug' } },
  };
  await using sidecar = await startSidecar(config);
  sidecar.reload();
  await logged(sidecar, 'nothing has changed');
  await sidecar.configure({ ...config, telemetry: { log: { level: 'info' } } });
  await logged(sidecar, 'configuration reloaded');
  expect(await health(sidecar)).toMatchObject({ status: 200, body: { problems: [] } });
});
