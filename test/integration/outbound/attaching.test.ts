import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openBroker } from '../../../sidecar/broker/open.ts';
import type { Broker } from '../../../sidecar/broker/port.ts';
import type { BrokerConfig, RouteConfig } from '../../../sidecar/config/config.ts';
import { createInbound } from '../../../sidecar/inbound/inbound.ts';
import { createOutbound, type Outbound } from '../../../sidecar/outbound/outbound.ts';
import { eventually } from '../../support/eventually.ts';
import { request, type ClientResponse, type RequestOptions } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const shared = {
  namespace: 'holdline',
  retention: { responses: 3_600_000, keyed: 86_400_000, broadcasts: 86_400_000, deadLetters: 86_400_000 },
};

const brokers: { name: string; start: (stack: AsyncDisposableStack) => Promise<BrokerConfig> }[] = [
  {
    name: 'JetStream',
    async start(stack) {
      const server = stack.use(await startNatsServer());
      return { ...shared, kind: 'nats', servers: [server.url], replicas: 1 };
    },
  },
  {
    name: 'SQLite',
    async start(stack) {
      const folder = stack.use(await createTempDir('outbound'));
      return { ...shared, kind: 'sqlite', file: folder.join('holdline.db') };
    },
  },
];

describe.each(brokers)('on $name', ({ start }) => {
  let stack: AsyncDisposableStack;
  let config: BrokerConfig;
  let upstream: Upstream;

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    config = await start(stack);
    upstream = stack.use(await startUpstream({ status: 201, headers: [['x-A', '1']], body: 'paid' }));
  });
  afterEach(async () => {
    await stack.disposeAsync();
    expectNoLeaks();
  });

  async function connect(service: string, instance: string): Promise<Broker> {
    const broker = await openBroker({ config, service, instance, report: () => {} });
    stack.defer(() => broker.close(5000));
    await broker.start();
    return broker;
  }

  /** One instance of a sidecar of the caller; its address. */
  async function caller(instance: string, route: Partial<RouteConfig> = {}, service = 'orders') {
    const charge: RouteConfig = {
      name: 'charge',
      match: { host: 'payments' },
      mode: 'await',
      hold: 30_000,
      onHoldExpired: 504,
      deadline: 60_000,
      idempotencyKey: 'header',
      retry: { attempts: 3, backoff: { min: 20, max: 100 }, on: [503] },
      maxBody: 1_000_000,
      onBrokerDown: 'fail',
      ...route,
    };
    const outbound: Outbound = createOutbound({
      service,
      broker: await connect(service, instance),
      config: {
        listen: { host: '127.0.0.1', port: 0 },
        ports: [],
        unmatched: 'deny',
        limits: { held: 100, heldBytes: 100_000_000 },
        routes: [charge],
        hosts: {},
      },
    });
    await outbound.open();
    stack.defer(() => outbound.drain(0));
    const listener = `http://${outbound.addresses()[0]}`;
    return {
      outbound,
      ask: (path: string, options: RequestOptions = {}): Promise<ClientResponse> =>
        request(`http://payments${path}`, { listener, ...options }),
    };
  }

  async function callee(): Promise<void> {
    const inbound = createInbound({
      config: { service: 'payments', url: upstream.url, concurrency: 8, timeout: 20_000, publishCalls: false },
      instance: 'callee',
      broker: await connect('payments', 'callee'),
    });
    stack.defer(() => inbound.drain(0));
    inbound.start();
  }

  const keyed = { method: 'POST', headers: { 'Idempotency-Key': 'k' }, body: '{}' };

  test('a key attaches across instances and after a restart; GET serves the same', async () => {
    await callee();
    const go = createLatch();
    upstream.always(async () => {
      await go.wait();
      return { status: 201, headers: [['x-A', '1']], body: 'paid' };
    });
    const [one, other] = [await caller('one'), await caller('other')];
    const first = one.ask('/charges', keyed);
    const [attempt] = await upstream.received(1);
    const id = attempt!.header('Holdline-Call-Id')!;
    const { operator } = await connect('orders', 'operator');
    const attached = async () => (await operator.call(id))?.attached?.map(({ how, instance }) => [how, instance]);
    const second = other.ask('/charges', keyed);
    // Held is not enough: until it has found the call, its caller might come after the answer was delivered.
    await expect.poll(attached).toEqual([['waited', 'other']]);
    go.open();
    for (const response of await Promise.all([first, second])) {
      expect(response).toMatchObject({ status: 201, text: 'paid' });
      expect(response.header('Idempotent-Replayed')).toBeUndefined();
    }
    const third = await eventually(
      async () => {
        const response = await (await caller('third')).ask('/charges', keyed);
        expect(response.header('Idempotent-Replayed')).toBe('true');
        return response;
      },
      { what: 'the delivery to be remembered' },
    );
    expect(third).toMatchObject({ status: 201, text: 'paid' });
    expect(third.header('Holdline-Call-Id')).toBe(id);
    const got = await one.ask(`/.holdline/calls/${id}`);
    expect(got.headers).toEqual(third.headers);
    expect(got.text).toBe('paid');
    expect((await one.ask('/charges', { ...keyed, body: '[]' })).header('Holdline-Error')).toBe('key-reused');
    expect(upstream.requests).toHaveLength(1);

    await expect.poll(attached).toEqual([
      ['waited', 'other'],
      ['served', 'third'],
    ]);
  });

  test('an answer that no caller has had is not a replay', async () => {
    const one = await caller('one', { mode: 'async' });
    const accepted = await one.ask('/charges', keyed);
    expect(accepted.status).toBe(202);
    await callee();
    const other = await caller('other');
    const response = await other.ask('/charges', keyed);
    expect(response).toMatchObject({ status: 201, text: 'paid' });
    expect(response.header('Idempotent-Replayed')).toBeUndefined();
    expect(upstream.requests).toHaveLength(1);
  });

  test('the key of an exhausted call starts it again, from another instance, under the same id', async () => {
    await callee();
    upstream.always({ status: 503, body: 'not now' });
    const one = await caller('one', { idempotent: true });
    const first = await one.ask('/charges', keyed);
    expect(first).toMatchObject({ status: 503, text: 'not now' });
    expect(first.header('Holdline-Outcome')).toBe('exhausted');
    upstream.always({ status: 201, body: 'paid' });
    const again = await (await caller('other', { idempotent: true })).ask('/charges', keyed);
    expect(again).toMatchObject({ status: 201, text: 'paid' });
    expect(again.header('Holdline-Call-Id')).toBe(first.header('Holdline-Call-Id'));
    expect(upstream.requests.map((seen) => seen.header('Holdline-Attempt'))).toEqual(['1', '2', '3', '4']);
  });

  test('asked for asynchronously: its status while it waits, its answer to who waits for it', async () => {
    const one = await caller('one');
    const accepted = await one.ask('/charges?token=x', {
      method: 'POST',
      headers: { Prefer: 'respond-async' },
      body: '',
    });
    const location = accepted.header('Location')!;
    expect(accepted.json()).toEqual({ id: location.slice('/.holdline/calls/'.length), state: 'waiting' });
    const status = await one.ask(location);
    expect(status.status).toBe(202);
    expect(status.json()).toMatchObject({ state: 'waiting', service: 'payments', method: 'POST', path: '/charges' });
    const other = await caller('other');
    const waiting = other.ask(location, { headers: { Prefer: 'wait=30' } });
    await eventually(() => expect(other.outbound.held()).toBe(1), { what: 'the question to be held' });
    await callee();
    const answer = await waiting;
    expect(answer).toMatchObject({ status: 201, text: 'paid' });
    expect(answer.header('Idempotent-Replayed')).toBe('true');
    const head = await one.ask(location, { method: 'HEAD' });
    expect(head.headers).toEqual(answer.headers);
    const gone = await one.ask(location, { method: 'DELETE' });
    expect([gone.status, gone.header('Holdline-Error')]).toEqual([409, 'call-started']);
  });

  test('a waiting call can be cancelled; another service knows nothing of it', async () => {
    const one = await caller('one');
    const accepted = await one.ask('/charges', { method: 'POST', headers: { Prefer: 'respond-async' }, body: '' });
    const location = accepted.header('Location')!;
    const stranger = await caller('stranger', {}, 'shop');
    for (const method of ['GET', 'DELETE']) {
      expect((await stranger.ask(location, { method })).header('Holdline-Error')).toBe('call-unknown');
    }
    expect((await one.ask(location, { method: 'DELETE' })).status).toBe(204);
    const cancelled = await one.ask(location);
    expect([cancelled.status, cancelled.header('Holdline-Error')]).toEqual([410, 'cancelled']);
    expect((await one.ask(location, { method: 'DELETE' })).status).toBe(409);
  });

  test('the deadline passes without a sidecar of the callee: the held caller is told, and so is who asks', async () => {
    const one = await caller('one', { deadline: 300 });
    const response = await one.ask('/charges', { method: 'POST', body: '' });
    expect([response.status, response.header('Holdline-Error')]).toEqual([504, 'deadline-exceeded']);
    const short = await caller('short', { deadline: 300, hold: 50 });
    const expired = await short.ask('/charges', { method: 'POST', body: '' });
    expect(expired.header('Holdline-Error')).toBe('hold-expired');
    await eventually(
      async () => {
        const asked = await short.ask(expired.header('Location')!);
        expect([asked.status, asked.header('Holdline-Error')]).toEqual([504, 'deadline-exceeded']);
      },
      { what: 'the deadline to pass' },
    );
  });
});
