import { describe, expect, test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import type { HeaderList } from '../../support/header-list.ts';
import { request } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Answer, type Handler, type Upstream } from '../../support/upstream.ts';

interface Scene extends AsyncDisposable {
  /** The caller's own service, which is called back. */
  readonly own: Upstream;
  readonly callee: Upstream;
  readonly orders: SidecarProcess;
  readonly payments: SidecarProcess;
}

async function openScene(broker: string, answer: Answer | Handler): Promise<Scene> {
  const stack = new AsyncDisposableStack();
  const own = stack.use(await startUpstream({ status: 204 }));
  const callee = stack.use(await startUpstream(answer));
  const retry = { attempts: 3, backoff: '10ms..20ms' };
  const orders = stack.use(
    await startSidecar({
      service: 'orders',
      broker,
      outbound: {
        routes: [
          { name: 'charge', match: { host: 'payments' }, mode: 'async', callback: 'POST /charge-done?x=1', retry },
        ],
      },
      inbound: [{ url: own.url }],
    }),
  );
  const payments = stack.use(await startSidecar({ service: 'payments', broker, inbound: [{ url: callee.url }] }));
  return { own, callee, orders, payments, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

async function charge({ orders }: Scene, method = 'POST'): Promise<string> {
  const answer = await request('http://payments/charges', { method, body: 'five', proxy: orders.outboundUrl });
  expect(answer.status).toBe(202);
  return answer.header('holdline-call-id')!;
}

describe.each(['nats', 'sqlite'])('with %s', (kind) => {
  async function brokerUrl(stack: AsyncDisposableStack): Promise<string> {
    if (kind === 'nats') return stack.use(await startNatsServer()).url;
    const folder = await createTempDir('callbacks');
    stack.defer(() => folder.remove());
    return `sqlite:${folder.join('holdline.db')}`;
  }

  test('the answer comes to the caller’s own service until that takes it', async () => {
    await using stack = new AsyncDisposableStack();
    const headers: HeaderList = [
      ['X-Reason', 'empty'],
      ['x-reason', 'account'],
      ['Content-Type', 'text/plain'],
      ['Host', 'evil'],
    ];
    const broker = await brokerUrl(stack);
    const scene = stack.use(await openScene(broker, { status: 402, headers, body: 'no money' }));
    scene.own.next({ status: 500 }, 'reset');
    const id = await charge(scene);
    const told = await scene.own.received(3, 30_000);
    expect(told.map((one) => one.header('holdline-attempt'))).toEqual(['1', '2', '3']);
    expect(new Set(told.map((one) => one.header('idempotency-key'))).size).toBe(1);
    const last = told.at(-1)!;
    expect(last).toMatchObject({ method: 'POST', target: '/charge-done?x=1' });
    expect(last.body.toString()).toBe('no money');
    expect(last.header('holdline-call-id')).toBe(id);
    expect(last.header('holdline-status')).toBe('402');
    expect(last.header('holdline-caller')).toBe('payments');
    expect(last.header('host')).toBe(new URL(scene.own.url).host);
    expect(last.headers.filter(([name]) => name.toLowerCase() === 'x-reason')).toEqual(headers.slice(0, 2));
    const trace = last.header('traceparent')!.split('-')[1];
    expect(scene.callee.requests[0]!.header('traceparent')).toContain(trace);
  });
});

test('broker, both sidecars and the caller’s service die around the answer: it is told all the same', async () => {
  const release = createLatch();
  await using server = await startNatsServer();
  await using scene = await openScene(server.url, async ({ body }) => {
    await release.wait('the charge to be let through');
    return { status: 201, body: `charged ${body.toString()}` };
  });
  const { own, callee, orders, payments } = scene;
  const id = await charge(scene, 'PUT');
  await callee.received(1);
  await own.down();
  await orders.kill9();
  release.open();
  // Whether the answer was stored, and its callback, before the kill is left to chance.
  await Promise.all([payments.kill9(), server.kill9()]);
  await server.restart();
  await payments.restart();
  await orders.restart();
  await own.up();
  const [told] = await own.received(1, 40_000);
  expect(told!.body.toString()).toBe('charged five');
  expect([told!.header('holdline-call-id'), told!.header('holdline-status')]).toEqual([id, '201']);
});

test('a caller’s service that never takes it: a dead letter, which a replay brings again', async () => {
  await using server = await startNatsServer();
  await using scene = await openScene(server.url, { status: 201, body: 'charged' });
  const { own } = scene;
  own.always({ status: 500 });
  await charge(scene);
  const list = async () => {
    const { stdout } = await runHoldline(['dead-letters', 'list', '--json', '--broker', server.url]);
    return (JSON.parse(stdout) as { deadLetters: { id: string }[] }).deadLetters;
  };
  await expect
    .poll(list, { timeout: 30_000 })
    .toMatchObject([{ service: 'orders', caller: 'payments', route: 'charge.callback', reason: 'exhausted' }]);
  own.always({ status: 200 });
  const before = own.requests.length;
  const [letter] = await list();
  await runHoldline(['dead-letters', 'replay', letter!.id, '--broker', server.url]);
  const told = await own.received(before + 1, 30_000);
  expect(told.at(-1)!.body.toString()).toBe('charged');
});
