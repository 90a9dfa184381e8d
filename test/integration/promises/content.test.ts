import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request, type ClientResponse } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startSidecar, type SidecarConfig, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

/** A broker, and how everything that keeps it is killed and brought back. */
interface TestBroker {
  readonly url: string;
  crash(sidecars: readonly SidecarProcess[]): Promise<void>;
}

const brokers: { name: string; start: (stack: AsyncDisposableStack) => Promise<TestBroker> }[] = [
  {
    name: 'JetStream',
    async start(stack) {
      const server = stack.use(await startNatsServer());
      return {
        url: server.url,
        async crash(sidecars) {
          await server.kill9();
          await server.restart();
          for (const sidecar of sidecars) await sidecar.ready();
        },
      };
    },
  },
  {
    name: 'SQLite',
    async start(stack) {
      const folder = stack.use(await createTempDir('content'));
      return {
        url: `sqlite:${folder.join('holdline.db')}`,
        async crash(sidecars) {
          for (const sidecar of sidecars) await sidecar.kill9();
          for (const sidecar of sidecars) await sidecar.restart();
        },
      };
    },
  },
];

describe.each(brokers)('a route with idempotencyKey: content, on $name', ({ start }) => {
  let stack: AsyncDisposableStack;
  let broker: TestBroker;
  let upstream: Upstream;
  let orders: SidecarProcess;
  let payments: SidecarProcess;
  let caller: SidecarConfig;

  beforeEach(async () => {
    stack = new AsyncDisposableStack();
    broker = await start(stack);
    upstream = stack.use(await startUpstream(() => ({ status: 201, body: `charge ${upstream.requests.length}` })));
    caller = {
      service: 'orders',
      broker: broker.url,
      outbound: { routes: [{ name: 'charge', match: { host: 'payments' }, idempotencyKey: 'content', hold: '2m' }] },
    };
    orders = stack.use(await startSidecar(caller));
    payments = stack.use(
      await startSidecar({ service: 'payments', broker: broker.url, inbound: [{ url: upstream.url, timeout: '2m' }] }),
    );
  });
  afterEach(() => stack.disposeAsync());

  /** What an application sends that knows nothing of keys. */
  function buy(sidecar = orders, body = 'a book'): Promise<ClientResponse> {
    return request('http://payments/charges', { method: 'POST', body, proxy: sidecar.outboundUrl });
  }

  /** Waits until so many callers are held. */
  async function held(sidecar: SidecarProcess, count: number): Promise<void> {
    const check = async () => {
      const { text } = await request(`${sidecar.adminUrl}/ready`);
      expect(JSON.parse(text)).toMatchObject({ outbound: { held: count } });
    };
    await eventually(check, { what: `${count} held callers` });
  }

  const id = (answer: ClientResponse) => answer.header('holdline-call-id');

  test("kill -9 of the caller's sidecar while a call is held: a plain retry gets its answer, and buying again is another call", async () => {
    const other = stack.use(await startSidecar(caller));
    const release = createLatch();
    upstream.always(async () => {
      const charge = `charge ${upstream.requests.length}`;
      await release.wait('the charge to be let through', 60_000);
      return { status: 201, body: charge };
    });
    const first = expect(buy()).rejects.toThrow(/hang up|reset/i);
    await upstream.received(1);
    await orders.kill9();
    await first;
    await orders.restart();
    // Through another instance as well, which waits for the same call.
    const retries = [buy(), buy(other)];
    // Both must wait before the answer comes: one that comes after it was delivered is another purchase.
    const callId = upstream.requests[0]!.header('holdline-call-id');
    for (const sidecar of [orders, other]) {
      await held(sidecar, 1);
      expect((await request(`${sidecar.outboundUrl}/.holdline/calls/${callId}`)).status).toBe(202);
    }
    release.open();
    for (const answer of await Promise.all(retries)) {
      expect(answer).toMatchObject({ status: 201, text: 'charge 1' });
      expect(answer.header('idempotent-replayed')).toBeUndefined();
    }
    const again = await buy();
    expect(again.text).toBe('charge 2');
    const third = await buy();
    expect(third.text).toBe('charge 3');
    const ids = upstream.requests.map((seen) => seen.header('idempotency-key'));
    expect(new Set(ids).size).toBe(3);
    expect(ids.slice(1)).toEqual([id(again), id(third)]);
    // As fast as one caller can be: the delivery of each must be known before the next one is looked at.
    const connection = stack.use(await connectRaw(Number(new URL(orders.outboundUrl).port)));
    for (let count = 4; count <= 20; count++) {
      connection.send('POST /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: 6\r\n\r\na book');
      expect((await connection.readResponse()).body.toString()).toBe(`charge ${count}`);
    }
  });

  test('the broker dies between an answer that nobody got and the retry, and between two purchases', async () => {
    const connection = await connectRaw(Number(new URL(orders.outboundUrl).port));
    const release = createLatch();
    upstream.always(async () => {
      await release.wait('the caller to be gone');
      return { status: 201, body: 'charge 1' };
    });
    connection.send(`POST /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: 6\r\n\r\na book`);
    await upstream.received(1);
    connection.reset();
    await held(orders, 0);
    release.open();
    // HEAD looks without taking delivery. Before that, the callee's sidecar may die with the answer in its hands.
    const location = `${orders.outboundUrl}/.holdline/calls/${upstream.requests[0]!.header('holdline-call-id')}`;
    await eventually(async () => expect((await request(location, { method: 'HEAD' })).status).toBe(201), {
      what: 'the answer to be stored',
    });
    await broker.crash([orders, payments]);
    upstream.always(() => ({ status: 201, body: `charge ${upstream.requests.length}` }));
    const retry = await buy();
    expect(retry.text).toBe('charge 1');
    // What is stored after the delivery was remembered tells that it is: a sidecar that dies sooner forgets it.
    expect((await buy(orders, 'a pen')).text).toBe('charge 2');
    await broker.crash([orders, payments]);
    const again = await buy();
    expect(again.text).toBe('charge 3');
    expect(id(again)).not.toBe(id(retry));
    expect(upstream.requests).toHaveLength(3);
  });

  test('async with a callback: the same call until the answer was taken by its service', async () => {
    const go = createLatch();
    const shop = stack.use(
      await startUpstream(async () => {
        await go.wait('the second request', 60_000);
        return { status: 204 };
      }),
    );
    const route = { name: 'charge', match: { host: 'payments' }, idempotencyKey: 'content' };
    await orders.configure({
      ...caller,
      outbound: { routes: [{ ...route, mode: 'async', callback: 'POST /charged' }] },
      inbound: [{ url: shop.url }],
    });
    await orders.restart();
    const first = await buy();
    expect(first.status).toBe(202);
    await shop.received(1);
    expect(id(await buy())).toBe(id(first));
    go.open();
    await eventually(async () => expect(id(await buy())).not.toBe(id(first)), { what: 'the delivery to count' });
    await shop.received(2);
    expect(upstream.requests).toHaveLength(2);
  });
});
