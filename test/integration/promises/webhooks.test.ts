import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { runHoldline } from '../../support/command-line.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const certificate = (name: string) => join(import.meta.dirname, '../../unit/inbound/certificates', name);
const retry = { backoff: '10ms..50ms' };

async function publish(orders: SidecarProcess, body: string): Promise<string> {
  const answer = await request('http://events/', { method: 'POST', body, proxy: orders.outboundUrl });
  expect(answer.status).toBe(202);
  return (answer.json() as { id: string }).id;
}

function publisher(broker: string): Promise<SidecarProcess> {
  const routes = [{ name: 'paid', match: { host: 'events' }, mode: 'broadcast', topic: 'order.paid' }];
  return startSidecar({ service: 'orders', broker, outbound: { routes } });
}

/** As the Standard Webhooks specification has it. */
function signature(key: Buffer, id: string, timestamp: string, body: string): string {
  return `v1,${createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')}`;
}

test('deliveries with a secret are signed, with each one of a list; every attempt with the same id', async () => {
  await using server = await startNatsServer();
  await using orders = await publisher(server.url);
  await using mail = await startUpstream({ status: 204 });
  mail.next({ status: 500 });
  const key = Buffer.from('0123456789abcdef01234567');
  const secret = [`whsec_${key.toString('base64')}`, 'the old one'];
  const subscribe = [{ name: 'mail', topic: 'order.*', to: 'POST /hook', url: mail.url, retry, secret }];
  await using sidecar = await startSidecar({ service: 'mail', broker: server.url, subscribe });
  await publish(orders, '{"order":1}');
  const tries = await mail.received(2);
  for (const each of tries) {
    const [id, timestamp] = [each.header('webhook-id')!, each.header('webhook-timestamp')!];
    const body = each.body.toString();
    const expected = [signature(key, id, timestamp, body), signature(Buffer.from('the old one'), id, timestamp, body)];
    expect(each.header('webhook-signature')?.split(' ')).toEqual(expected);
    expect(each.header('ce-type')).toBe('order.paid');
  }
  expect(new Set(tries.map((each) => each.header('webhook-id'))).size).toBe(1);
  expect(sidecar.logs).not.toContain('the old one');
});

test('410 ends a subscription until it is resumed, and nothing is lost', async () => {
  await using server = await startNatsServer();
  await using orders = await publisher(server.url);
  await using mail = await startUpstream({ status: 204 });
  mail.next({ status: 410 });
  const subscribe = [{ name: 'mail', topic: 'order.*', to: 'POST /hook', url: mail.url, retry }];
  await using sidecar = await startSidecar({ service: 'mail', broker: server.url, subscribe });
  const command = async (...words: string[]) =>
    runHoldline(['subscriptions', ...words, '--broker', server.url, '--json']);
  await publish(orders, 'first');
  const listed = async () => (JSON.parse((await command('list')).stdout) as { subscriptions: unknown[] }).subscriptions;
  await expect.poll(listed, { timeout: 20_000 }).toMatchObject([{ service: 'mail', name: 'mail', state: 'ended' }]);
  await publish(orders, 'second');
  expect((await request(`${sidecar.adminUrl}/ready`)).text).toContain('answered 410');
  expect(mail.requests).toHaveLength(1);
  expect((await command('resume', 'mail')).exitCode).toBe(0);
  const came = await mail.received(3, 20_000);
  expect(new Set(came.slice(1).map(({ body }) => body.toString()))).toEqual(new Set(['first', 'second']));
  // It was told that nobody is there, which is no attempt.
  expect(came.map((each) => each.header('holdline-attempt'))).toEqual(['1', '1', '1']);
  expect((await command('remove', 'mail')).exitCode).toBe(1);
  expect((await command('resume', 'nobody')).exitCode).toBe(1);
});

describe('an outside endpoint', () => {
  interface Endpoint extends AsyncDisposable {
    readonly url: string;
    readonly requests: { readonly head: IncomingMessage; readonly body: string }[];
    readonly connections: () => number;
  }

  async function startEndpoint(status: number, headers: Record<string, string> = {}): Promise<Endpoint> {
    const requests: Endpoint['requests'] = [];
    let connections = 0;
    const server = createTlsServer(
      { key: readFileSync(certificate('service.key')), cert: readFileSync(certificate('service.pem')) },
      (req, res) => {
        text(req).then(
          (body) => {
            requests.push({ head: req, body });
            res.writeHead(status, headers).end();
          },
          () => res.destroy(),
        );
      },
    );
    server.on('connection', () => connections++);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const close = async () => {
      server.close();
      server.closeAllConnections();
      await once(server, 'close');
    };
    const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { url, requests, connections: () => connections, [Symbol.asyncDispose]: close };
  }

  async function whyNot(sidecar: SidecarProcess): Promise<string> {
    const { text: page } = await request(`${sidecar.adminUrl}/ready`);
    return page;
  }

  test('gets deliveries over https; one that leads into the own network only where that is allowed', async () => {
    await using server = await startNatsServer();
    await using orders = await publisher(server.url);
    await using endpoint = await startEndpoint(200);
    const config = (allowPrivate: boolean) => ({
      service: 'mail',
      broker: server.url,
      subscribe: [{ name: 'out', topic: 'order.paid', to: 'POST /in', url: endpoint.url, retry, allowPrivate }],
    });
    const env = { NODE_EXTRA_CA_CERTS: certificate('ca.pem') };
    await using sidecar = await startSidecar(config(false), { env });
    const id = await publish(orders, 'paid');
    await eventually(async () => expect(await whyNot(sidecar)).toContain('is not a public address'), {
      what: 'the refusal to be shown',
    });
    expect(endpoint.connections()).toBe(0);
    await sidecar.configure(config(true));
    sidecar.reload();
    await eventually(() => expect(endpoint.requests).toHaveLength(1), { what: 'the delivery' });
    expect(endpoint.requests[0]).toMatchObject({ body: 'paid', head: { url: '/in' } });
    expect(endpoint.requests[0]!.head.headers['ce-id']).toBe(id);
    expect(endpoint.requests[0]!.head.headers['holdline-attempt']).toBe('1');
  });

  test('is not followed where it sends elsewhere, and is left alone when it fails again and again', async () => {
    await using server = await startNatsServer();
    await using orders = await publisher(server.url);
    let led = 0;
    const elsewhere = createServer((_, res) => {
      led++;
      res.end();
    });
    elsewhere.listen(0, '127.0.0.1');
    await once(elsewhere, 'listening');
    const location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/`;
    await using endpoint = await startEndpoint(307, { location });
    const subscribe = [
      {
        name: 'out',
        topic: '**',
        to: 'POST /in',
        url: endpoint.url,
        retry: { ...retry, attempts: 50 },
        allowPrivate: true,
      },
    ];
    const env = { NODE_EXTRA_CA_CERTS: certificate('ca.pem') };
    await using sidecar = await startSidecar({ service: 'mail', broker: server.url, subscribe }, { env });
    await publish(orders, 'paid');
    await eventually(async () => expect(await whyNot(sidecar)).toContain('failed again and again'), {
      what: 'the breaker to open',
    });
    expect(endpoint.requests).toHaveLength(5);
    expect(led).toBe(0);
    elsewhere.close();
    await once(elsewhere, 'close');
  });
});

const brokers = {
  'NATS JetStream': startNatsServer,
  SQLite: async () => {
    const folder = await createTempDir('feeds');
    return { url: `sqlite:${folder.join('holdline.db')}`, [Symbol.asyncDispose]: () => folder.remove() };
  },
};

test.each(Object.entries(brokers))(
  'a call feed on %s: another service’s calls, chosen by what they were',
  async (_, start) => {
    await using broker = await start();
    await using payments = await startUpstream((received) => ({
      status: received.target.startsWith('/charges') ? 201 : 404,
      body: 'done',
    }));
    await using audit = await startUpstream({ status: 200 });
    const inbound = [{ url: payments.url, publishCalls: true }];
    await using callee = await startSidecar({ service: 'payments', broker: broker.url, inbound });
    const call = { service: 'payments', method: 'POST', path: '/charges/*', status: '2xx' };
    await using auditor = await startSidecar({
      service: 'audit',
      broker: broker.url,
      subscribe: [{ name: 'charges', call, to: 'POST /seen', url: audit.url }],
    });
    await using orders = await startSidecar({
      service: 'orders',
      broker: broker.url,
      outbound: { routes: [{ name: 'pay', match: { host: 'payments' } }] },
    });
    const ask = (method: string, path: string, body?: string) =>
      request(`http://payments${path}`, {
        method,
        proxy: orders.outboundUrl,
        headers: { Authorization: 'Bearer hunter2' },
        ...(body !== undefined && { body }),
      });
    expect((await ask('POST', '/elsewhere', 'a')).status).toBe(404);
    expect((await ask('PUT', '/charges/1', 'b')).status).toBe(201);
    expect((await ask('POST', '/charges/1/refund', 'c')).status).toBe(201);
    const wanted = await ask('POST', '/charges/7?x=1', 'five');
    const [seen] = await audit.received(1);
    expect(seen!.header('content-type')).toBe('application/cloudevents+json; charset=utf-8');
    expect(seen!.headers.filter(([name]) => name.toLowerCase().startsWith('ce-'))).toEqual([]);
    expect(seen!.body.toString()).not.toContain('hunter2');
    expect(JSON.parse(seen!.body.toString())).toMatchObject({
      specversion: '1.0',
      source: '/services/payments',
      data: {
        call: { id: wanted.header('holdline-call-id'), caller: 'orders', method: 'POST', target: '/charges/7?x=1' },
        request: { headers: { authorization: '[redacted]' }, body: 'five' },
        response: { status: 201, body: 'done' },
        attempts: 1,
      },
    });
    expect(audit.requests).toHaveLength(1);
    expect([callee.logs, auditor.logs].join('')).not.toContain('hunter2');
  },
);
