import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { openBroker } from '../../../sidecar/broker/open.ts';
import type { Broker } from '../../../sidecar/broker/port.ts';
import type { BrokerConfig, InboundConfig } from '../../../sidecar/config/config.ts';
import { createInbound, type Inbound } from '../../../sidecar/inbound/inbound.ts';
import type { ActionEvent, ResponseEvent } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { within } from '../../support/patience.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

interface Backend extends AsyncDisposable {
  readonly config: BrokerConfig;
}

const shared = {
  namespace: 'holdline',
  retention: { responses: 3_600_000, keyed: 86_400_000, broadcasts: 86_400_000, deadLetters: 86_400_000 },
};

const backends: { name: string; open: () => Promise<Backend> }[] = [
  {
    name: 'JetStream',
    async open() {
      const server = await startNatsServer();
      return {
        config: { ...shared, kind: 'nats', servers: [server.url], replicas: 1 },
        [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
      };
    },
  },
  {
    name: 'SQLite',
    async open() {
      const folder = await createTempDir('inbound');
      return {
        config: { ...shared, kind: 'sqlite', file: folder.join('holdline.db') },
        [Symbol.asyncDispose]: () => folder.remove(),
      };
    },
  },
];

describe.each(backends)('on $name', ({ open }) => {
  let backend: Backend;
  let caller: Broker;
  let brokers: Broker[];
  let rooms: Inbound[];

  async function connect(service: string, tag: string): Promise<Broker> {
    const broker = await openBroker({ config: backend.config, service, instance: tag, report: () => {} });
    brokers.push(broker);
    await broker.start();
    return broker;
  }

  /** One more instance of the callee's sidecar. */
  async function instance(tag: string, url: string, changes: Partial<InboundConfig> = {}): Promise<Inbound> {
    const config = { service: 'payments', url, concurrency: 8, timeout: 20_000, publishCalls: false, ...changes };
    const inbound = createInbound({ config, instance: tag, broker: await connect('payments', tag) });
    rooms.push(inbound);
    inbound.start();
    return inbound;
  }

  function action(changes: Partial<ActionEvent> = {}): ActionEvent {
    return {
      id: caller.caller('orders').newCallId('payments'),
      round: 1,
      caller: 'orders',
      service: 'payments',
      route: 'charge',
      method: 'POST',
      target: '/charges',
      headers: ['Host', 'payments'],
      trailers: [],
      body: Buffer.from('{}'),
      hasBody: true,
      acceptedAt: Date.now(),
      deadline: Date.now() + 600_000,
      idempotent: false,
      retry: { attempts: 3, backoff: { min: 10, max: 50 }, on: [429, 502, 503, 504] },
      keyed: false,
      fingerprint: 'f',
      maxBody: 1_000_000,
      earlier: [],
      ...changes,
    };
  }

  async function call(changes?: Partial<ActionEvent>): Promise<ResponseEvent> {
    const log = caller.caller('orders');
    const stored = action(changes);
    const awaited = log.await(stored.id);
    expect(await log.store(stored)).toEqual({ kind: 'accepted' });
    return within(awaited.response, 40_000, `no response event for ${stored.target}`);
  }

  beforeEach(async () => {
    backend = await open();
    brokers = [];
    rooms = [];
    caller = await connect('orders', '0000f');
    caller.caller('orders').prepare(['payments']);
  });

  afterEach(async () => {
    await Promise.all(rooms.map((room) => room.drain(0)));
    await Promise.all(brokers.map((broker) => broker.close(2_000)));
    await backend[Symbol.asyncDispose]();
  });

  test('a call is carried out and its answer stored', async () => {
    await using service = await startUpstream({ status: 201, body: 'done' });
    await instance('0000a', service.url);
    const response = await call();
    expect(response).toMatchObject({
      outcome: 'answered',
      answer: { status: 201 },
      attempts: [{ evidence: 'answered' }],
    });
    expect(Buffer.from(response.answer!.body).toString()).toBe('done');
    expect(service.requests).toHaveLength(1);
  });

  test('attempts are counted over postponements, to the last', async () => {
    await using service = await startUpstream({ status: 503 });
    await instance('0000a', service.url);
    const response = await call();
    expect(response).toMatchObject({ outcome: 'exhausted', answer: { status: 503 } });
    expect(response.attempts.map(({ attempt, evidence }) => `${attempt} ${evidence}`)).toEqual([
      '1 retry-status',
      '2 retry-status',
      '3 retry-status',
    ]);
    expect(service.requests.map((request) => request.header('holdline-attempt'))).toEqual(['1', '2', '3']);
  });

  test('a service that asks for time gets it', async () => {
    await using service = await startUpstream({ status: 200 });
    service.next({ status: 429, headers: { 'Retry-After': '1' } });
    await instance('0000a', service.url);
    expect(await call()).toMatchObject({ outcome: 'answered', attempts: { length: 2 } });
    expect(service.requests[1]!.at - service.requests[0]!.at).toBeGreaterThanOrEqual(1_000);
  });

  test('while its service is down an instance leaves the calls to the others', async () => {
    await using healthy = await startUpstream({ body: 'healthy' });
    await using down = await startUpstream({ body: 'down' });
    const failing = await instance('0000a', down.url);
    await eventually(() => expect(failing.state().delivering).toBe(true), { what: 'delivery' });
    await down.down();
    await instance('0000b', healthy.url);
    const responses = await Promise.all(Array.from({ length: 30 }, (_, index) => call({ target: `/${index}` })));
    for (const { outcome, attempts } of responses) {
      expect(outcome).toBe('answered');
      expect(attempts).toMatchObject([{ attempt: 1, instance: '0000b' }]);
    }
    expect(healthy.requests).toHaveLength(30);
  });

  test('a call waits for a service that is down and is then carried out once', async () => {
    await using service = await startUpstream({ body: 'ok' });
    await service.down();
    const inbound = await instance('0000a', service.url);
    const pending = call();
    await eventually(() => expect(inbound.state().why).toMatch(/ECONNREFUSED/), { what: 'the probe' });
    await service.up();
    expect(await pending).toMatchObject({ outcome: 'answered', attempts: [{ attempt: 1, evidence: 'answered' }] });
    expect(service.requests).toHaveLength(1);
  });

  test('the deadline of a call passes also while its service is down', async () => {
    await using service = await startUpstream();
    await service.down();
    await instance('0000a', service.url);
    const response = await call({ deadline: Date.now() + 300 });
    expect(response).toMatchObject({ outcome: 'deadline-exceeded', attempts: [] });
  });

  test('what a drained instance broke off goes on at the next, as an attempt', async () => {
    const hold = createLatch();
    await using stuck = await startUpstream(async () => {
      await hold.wait();
      return {};
    });
    await using service = await startUpstream({ body: 'ok' });
    const first = await instance('0000a', stuck.url);
    const safe = call({ idempotent: true, target: '/safe' });
    const unsafe = call({ target: '/unsafe' });
    await stuck.received(2);
    await first.drain(0);
    hold.open();
    await instance('0000b', service.url);
    expect(await safe).toMatchObject({
      outcome: 'answered',
      attempts: [
        { attempt: 1, evidence: 'no-answer', instance: '0000a' },
        { attempt: 2, evidence: 'answered', instance: '0000b' },
      ],
    });
    expect(await unsafe).toMatchObject({ outcome: 'outcome-unknown', attempts: { length: 1 } });
    expect(service.requests.map(({ target }) => target)).toEqual(['/safe']);
  });
});
