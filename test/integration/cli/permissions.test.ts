import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { jetstreamManager, type ConsumerConfig, type StreamConfig } from '@nats-io/jetstream';
import { connect, PermissionViolationError, type NatsConnection } from '@nats-io/transport-node';
import { describe, expect, test } from 'vitest';
import { stringify } from 'yaml';
import { runHoldline } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer, type NatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarConfig, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const retry = { attempts: 2, backoff: '10ms..20ms' };
const services = ['orders', 'payments', 'mail', 'stranger'] as const;
const passwords = Object.fromEntries([...services, 'operator'].map((user) => [user, `secret-of-${user}`]));
const env = Object.fromEntries(services.map((name) => [`${name.toUpperCase()}_PASSWORD`, passwords[name]!]));
env['OPERATOR_PASSWORD'] = passwords['operator']!;

/** What the services of this installation do; payments and mail are where they are told. */
function installation(port: number, urls: Record<(typeof services)[number], string>): Record<string, SidecarConfig> {
  const broker = (user: string) => `nats://${user}:${passwords[user]}@127.0.0.1:${port}`;
  return {
    orders: {
      service: 'orders',
      broker: broker('orders'),
      outbound: {
        routes: [
          { name: 'paid', match: { host: 'events' }, mode: 'broadcast', topic: 'order.paid' },
          { name: 'later', match: { host: 'payments', path: '/later' }, mode: 'async', callback: 'POST /done', retry },
          { name: 'in-turn', match: { host: 'payments', path: '/in-turn' }, orderBy: 'header:x-customer', retry },
          { name: 'same', match: { host: 'payments', path: '/same' }, idempotencyKey: 'content', retry },
          { name: 'charge', match: { host: 'payments' }, retry },
        ],
      },
      inbound: [{ url: urls.orders }],
    },
    payments: {
      service: 'payments',
      broker: broker('payments'),
      inbound: [{ url: urls.payments, publishCalls: true }],
    },
    mail: {
      service: 'mail',
      broker: broker('mail'),
      subscribe: [
        {
          name: 'paid',
          topic: 'order.*',
          to: 'POST /paid',
          url: urls.mail,
          from: 'first',
          retry,
          orderBy: 'header:ce-source',
        },
        { name: 'large', call: { service: 'payments', path: '/large' }, to: 'POST /calls', url: urls.mail },
      ],
    },
    stranger: { service: 'stranger', broker: broker('stranger'), inbound: [{ url: urls.stranger }] },
  };
}

interface Printed {
  readonly users: readonly { readonly user: string }[];
  readonly streams: readonly StreamConfig[];
  readonly consumers: readonly { readonly stream: string; readonly config: Partial<ConsumerConfig> }[];
}

async function printed(folder: string, configs: Record<string, SidecarConfig>, flags: readonly string[]) {
  const files = await Promise.all(
    Object.entries(configs).map(async ([name, config]) => {
      const file = join(folder, `${name}.yaml`);
      await writeFile(file, stringify({ ...config, admin: { listen: '127.0.0.1:0' } }));
      return file;
    }),
  );
  const result = await runHoldline(['permissions', ...flags, ...files]);
  expect(result).toMatchObject({ exitCode: 0, stderr: '' });
  return result.stdout;
}

/** What an operator would do by hand. */
async function provision(storeDir: string, { streams, consumers }: Printed): Promise<void> {
  await using open = await startNatsServer({ storeDir });
  const nc = await connect({ servers: open.url });
  const manager = await jetstreamManager(nc);
  for (const stream of streams) await manager.streams.add(stream);
  for (const { stream, config } of consumers) await manager.consumers.add(stream, config);
  await nc.close();
  await open.stop();
}

function violations(server: NatsServer): string[] {
  return server.logs.split('\n').filter((line) => /violation/i.test(line));
}

const call = (
  orders: SidecarProcess,
  path: string,
  options: { method?: string; headers?: Record<string, string>; body?: string } = {},
) => request(`http://payments${path}`, { method: 'POST', ...options, proxy: orders.outboundUrl });

const operate = (port: number, ...args: string[]) =>
  runHoldline([...args, '--broker', `nats://operator:${passwords['operator']}@127.0.0.1:${port}`]);

describe.each([
  ['sidecars that make their streams', []],
  ['provisioned streams', ['--provisioned']],
] as const)('with %s', (_, flags) => {
  test('the sidecars do all of their work, and nobody does more', { timeout: 120_000 }, async () => {
    await using folder = await createTempDir('permissions');
    await using shop = await startUpstream({ status: 204 });
    const broken = new Set<string>();
    const large = 'x'.repeat(700_000);
    await using till = await startUpstream(({ target }) => ({
      status: broken.has(target) ? 503 : 201,
      body: target === '/large' || target === '/later' ? large : 'paid',
    }));
    await using post = await startUpstream(() => ({
      status: broken.has('gone') ? 410 : broken.has('mail') ? 500 : 204,
    }));
    const port = await freePort();
    const configs = installation(port, { orders: shop.url, payments: till.url, mail: post.url, stranger: till.url });
    const config = await printed(folder.path, configs, flags);
    const storeDir = folder.join('store');
    if (flags.length > 0) {
      await provision(storeDir, JSON.parse(await printed(folder.path, configs, [...flags, '--json'])) as Printed);
    }
    await using server = await startNatsServer({ port, storeDir, config, env });
    {
      await using payments = await startSidecar(configs['payments']!);
      await using orders = await startSidecar(configs['orders']!);
      await using mail = await startSidecar(configs['mail']!);

      expect(await call(orders, '/charge')).toMatchObject({ status: 201, text: 'paid' });
      const key = { headers: { 'Idempotency-Key': 'k1' } };
      expect((await call(orders, '/charge', key)).status).toBe(201);
      expect((await call(orders, '/charge', key)).header('idempotent-replayed')).toBe('true');
      const turns = [1, 2, 3].map(() => call(orders, '/in-turn', { headers: { 'X-Customer': 'c1' } }));
      expect((await Promise.all(turns)).map(({ status }) => status)).toEqual([201, 201, 201]);
      expect((await call(orders, '/same', { body: 'x' })).status).toBe(201);
      const bodies = { body: large, headers: { 'Idempotency-Key': 'k3' } };
      expect((await call(orders, '/large', bodies)).text).toBe(large);
      expect((await call(orders, '/large', { body: large })).text).toBe(large);
      await eventually(() => expect(post.requests.filter(({ target }) => target === '/calls')).toHaveLength(2), {
        what: 'the feed of these calls',
      });
      const later = await call(orders, '/later');
      expect(later.status).toBe(202);
      const [done] = await shop.received(1);
      expect(done).toMatchObject({ method: 'POST', target: '/done' });
      expect(done!.body).toHaveLength(large.length);
      expect((await call(orders, later.header('location')!, { method: 'GET' })).status).toBe(201);

      // An attempt by a key that ended without success leaves a letter, which its next round takes away.
      broken.add('/charge');
      const again = { headers: { 'Idempotency-Key': 'k2' } };
      expect((await call(orders, '/charge', again)).header('holdline-outcome')).toBe('exhausted');
      broken.clear();
      expect((await call(orders, '/charge', again)).status).toBe(201);
      broken.add('/charge');
      expect((await call(orders, '/charge', { method: 'GET' })).header('holdline-outcome')).toBe('exhausted');
      broken.clear();

      broken.add('mail');
      const event = await request('http://events/', { method: 'POST', body: '{}', proxy: orders.outboundUrl });
      expect(event.status).toBe(202);
      const letters = () => operate(port, 'dead-letters', 'list', '--json');
      await eventually(
        async () => {
          const { deadLetters } = JSON.parse((await letters()).stdout) as { deadLetters: unknown[] };
          expect(deadLetters).toHaveLength(2);
        },
        { what: 'the dead letters of a call and of a delivery' },
      );
      broken.clear();
      expect(await operate(port, 'dead-letters', 'replay', '--all')).toMatchObject({ exitCode: 0 });
      await eventually(async () => expect(JSON.parse((await letters()).stdout)).toEqual({ deadLetters: [] }), {
        what: 'the letters to be replayed',
      });
      await eventually(
        () => expect(post.requests.filter(({ target }) => target === '/paid').length).toBeGreaterThan(2),
        { what: 'the event to be taken' },
      );

      broken.add('gone');
      await request('http://events/', { method: 'POST', body: '{}', proxy: orders.outboundUrl });
      await eventually(
        async () => expect((await operate(port, 'subscriptions', 'list')).stdout).toMatch(/paid .*ended/),
        { what: 'the subscription to be ended' },
      );
      broken.clear();
      expect(await operate(port, 'subscriptions', 'resume', 'paid')).toMatchObject({ exitCode: 0 });

      // A service that is down: its calls wait, are taken back, and go on after a restart of its sidecar.
      await till.down();
      const patient = { headers: { Prefer: 'respond-async', 'X-Customer': 'c2' } };
      const waiting = await Promise.all([1, 2, 3].map(() => call(orders, '/in-turn', patient)));
      const [first, second, third] = waiting.map((answer) => answer.header('location')!);
      const cancelled = await call(orders, first!, { method: 'DELETE' });
      expect(cancelled).toMatchObject({ status: 204 });
      const id = second!.slice(second!.lastIndexOf('/') + 1);
      expect(await operate(port, 'calls', 'cancel', id)).toMatchObject({ exitCode: 0 });
      await till.up();
      await payments.restart();
      await eventually(async () => expect((await call(orders, third!, { method: 'GET' })).status).toBe(201), {
        what: 'the last call of the queue to be carried out',
        timeoutMs: 30_000,
      });
      expect(await operate(port, 'calls', 'show', id)).toMatchObject({ exitCode: 0 });
      const topology = await operate(port, 'topology', '--json');
      expect(JSON.parse(topology.stdout)).toMatchObject({
        edges: expect.arrayContaining([expect.objectContaining({ from: 'orders', to: 'payments' })]),
      });
      const list = await operate(port, 'calls', 'list', '--json');
      expect((JSON.parse(list.stdout) as { calls: unknown[] }).calls.length).toBeGreaterThan(5);
      for (const sidecar of [orders, payments, mail]) {
        expect((await request(`${sidecar.adminUrl}/metrics`)).status).toBe(200);
        expect(sidecar.logs).not.toContain('ermission');
      }
      expect(violations(server)).toEqual([]);
    }
    // Once is enough: the users are the same.
    if (flags.length > 0) await apiAsOperatorOnly(configs['orders']!, port);
    await onlyTheirOwn(server);
  });
});

/** A sidecar's own user may not look at everybody's calls, and is told who may: a page of the operator's. */
async function apiAsOperatorOnly(config: SidecarConfig, port: number): Promise<void> {
  await using orders = await startSidecar(config);
  const refused = await request(`${orders.adminUrl}/api/calls`);
  expect(refused).toMatchObject({ status: 403 });
  expect(refused.text).toContain('Ask as the user `operator`');
  expect(refused.header('retry-after')).toBeUndefined();
  const broker = `nats://operator:${passwords['operator']}@127.0.0.1:${port}`;
  await using page = await startSidecar({ service: 'operator', broker });
  for (const path of ['calls', 'topology', 'dead-letters', 'subscriptions']) {
    expect(await request(`${page.adminUrl}/api/${path}`)).toMatchObject({ status: 200 });
  }
  expect(page.logs).not.toContain('ermission');
}

/** A plain client in the place of a service. */
async function as(user: string, server: NatsServer): Promise<NatsConnection> {
  return await connect({
    servers: server.url,
    user,
    pass: passwords[user]!,
    inboxPrefix: `_INBOX_holdline_${user}`,
    ignoreAuthErrorAbort: true,
  });
}

/** Whether the server lets a user send this. */
async function maySend(nc: NatsConnection, subject: string, payload = ''): Promise<boolean> {
  try {
    await nc.request(subject, payload, { timeout: 2_000 });
  } catch (error) {
    if (error instanceof PermissionViolationError || (error as Error).cause instanceof PermissionViolationError)
      return false;
  }
  return true;
}

async function mayHear(nc: NatsConnection, subject: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const subscription = nc.subscribe(subject, { callback: (error) => resolve(error === null) });
  await nc.flush();
  await nc.flush();
  resolve(true);
  const may = await promise;
  if (!subscription.isClosed()) subscription.unsubscribe();
  return may;
}

async function onlyTheirOwn(server: NatsServer): Promise<void> {
  const id = '01890a5d-ac96-774b-8cce-b302099a8057';
  const clients = Object.fromEntries(
    await Promise.all([...services, 'operator'].map(async (user) => [user, await as(user, server)] as const)),
  );
  const sends = {
    'a call of its own': [`holdline.act.payments.orders.${id}`, ['orders', 'payments', 'operator']],
    'a call in the name of another': [`holdline.act.payments.mail.${id}`, ['payments', 'operator']],
    'a call to a service that it does not call': [`holdline.act.stranger.orders.${id}`, ['stranger', 'operator']],
    'an answer to orders': [`holdline.res.orders.00000.${id}`, ['orders', 'payments', 'operator']],
    'an answer to another caller': [`holdline.res.payments.00000.${id}`, ['operator']],
    'an answer to a keyed call of another caller': [`holdline.key.mail.res.${id}`, ['operator']],
    'an answer to payments, by a callback': [`holdline.key.payments.res.${id}`, ['orders', 'operator']],
    'progress of a service that it does not call': [`holdline.att.stranger.${id}.1`, ['stranger', 'operator']],
    'a body of another': [`holdline.body.payments.orders.${id}.x.0`, ['orders', 'payments']],
    'a dead letter of another': [`holdline.dead.payments.orders.${id}`, ['orders', 'payments', 'operator']],
    'an event in the name of another': [`holdline.evt.orders.order.paid.${id}`, ['orders']],
    'an event of another topic': [`holdline.evt.orders.order.lost.${id}`, []],
    'an answer of orders read': [
      `$JS.API.DIRECT.GET.holdline_responses_orders.holdline.res.orders.0.${id}`,
      ['orders', 'payments', 'operator'],
    ],
    'the mark of a delivery read': [
      `$JS.API.DIRECT.GET.holdline_keyed_orders.holdline.key.orders.had.${id}.1`,
      ['orders', 'operator'],
    ],
    'calls read in their order': ['$JS.API.DIRECT.GET.holdline_actions_payments', ['payments', 'operator']],
    'calls of others read': [
      '$JS.API.DIRECT.GET.holdline_actions_payments.holdline.act.payments.*.*',
      ['payments', 'operator'],
    ],
    'calls pulled': ['$JS.API.CONSUMER.MSG.NEXT.holdline_actions_payments.inbound', ['payments']],
    'events pulled': ['$JS.API.CONSUMER.MSG.NEXT.holdline_broadcasts.mail_paid', ['mail']],
    'an acknowledgement': ['$JS.ACK.holdline_actions_payments.inbound.1.1.1.1.0', ['payments']],
    'a consumer of another': ['$JS.API.CONSUMER.CREATE.holdline_actions_payments.spy', []],
    'a stream deleted': ['$JS.API.STREAM.DELETE.holdline_actions_payments', []],
    'a stream purged': ['$JS.API.STREAM.PURGE.holdline_actions_payments', []],
    'a stream made': ['$JS.API.STREAM.CREATE.spy', []],
    'an inbox of another': ['_INBOX_holdline_orders.x', []],
  } as const;
  const may = async (tries: (nc: NatsConnection) => Promise<boolean>) => {
    const found: string[] = [];
    for (const [user, nc] of Object.entries(clients)) if (await tries(nc)) found.push(user);
    return found;
  };
  for (const [what, [subject, users]] of Object.entries(sends)) {
    expect(await may((nc) => maySend(nc, subject)), `${what}: ${subject}`).toEqual(users);
  }
  const hears = {
    'holdline.rt.orders.>': [],
    'holdline.rt.orders.*.*': ['orders'],
    'holdline.rtk.orders.res.*': ['orders'],
    'holdline.rto.payments.*.*.*': ['payments'],
    'holdline.ctl.payments': ['payments'],
    'holdline.act.>': [],
    'holdline.>': [],
    '>': [],
    '_INBOX_holdline_orders.x': ['orders'],
    '_INBOX.>': [],
  };
  for (const [subject, users] of Object.entries(hears)) {
    expect(await may((nc) => mayHear(nc, subject)), subject).toEqual(users);
  }
  await Promise.all(Object.values(clients).map((nc) => nc.close()));
}

describe('what is wrong', () => {
  test('is told for all files at once, as `check` does', async () => {
    await using folder = await createTempDir('permissions');
    const inbound = '\ninbound: [{ url: "http://127.0.0.1:3000" }]\n';
    const files = {
      'good.yaml': `service: orders\nbroker: nats://127.0.0.1:4222${inbound}`,
      'operator.yaml': `service: operator\nbroker: nats://127.0.0.1:4222${inbound}`,
      'sqlite.yaml': `service: a\nbroker: sqlite:./x.db${inbound}`,
      'other.yaml': `service: b\nbroker: { url: nats://127.0.0.1:4222, namespace: other, replicas: 3 }${inbound}`,
      'wrong.yaml': `servce: c\nbroker: nats://127.0.0.1:4222${inbound}`,
    };
    for (const [name, text] of Object.entries(files)) await writeFile(folder.join(name), text);
    const { exitCode, stdout, stderr } = await runHoldline(['permissions', '--provisioned', ...Object.keys(files)], {
      cwd: folder.path,
    });
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    for (const line of [
      'operator.yaml:1:10: service: operator is the user of the command line; expected another name',
      'sqlite.yaml:2:9: broker: sqlite has no users; expected a nats:// or tls:// broker',
      'other.yaml:2:50: broker.namespace: another one than in good.yaml; expected holdline in all files',
      'other.yaml:2:9: broker: other replicas or retention than in good.yaml; expected the same in all files',
    ]) {
      expect(stderr).toContain(line);
    }
    expect(stderr).toContain('wrong.yaml:1:1: servce: ');
  });
});
