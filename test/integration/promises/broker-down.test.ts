import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { startTcpRelay } from '../../support/tcp-relay.ts';
import { startUpstream } from '../../support/upstream.ts';

/** A caller whose calls are passed through where they cannot be stored, and who reaches the broker over a relay. */
async function start(stack: AsyncDisposableStack, hold: string) {
  const server = stack.use(await startNatsServer());
  const relay = stack.use(await startTcpRelay(server.port));
  const service = stack.use(await startUpstream(({ body }) => ({ status: 201, body })));
  const outbound = {
    routes: [{ name: 'charge', match: { host: 'payments' }, hold, onBrokerDown: 'passthrough' }],
    hosts: { payments: service.url },
  };
  const broker = `nats://127.0.0.1:${relay.port}`;
  const orders = stack.use(await startSidecar({ service: 'orders', broker, outbound }));
  stack.use(await startSidecar({ service: 'payments', broker: server.url, inbound: [{ url: service.url }] }));
  const call = (body: string, headers = {}) =>
    request('http://payments/charges', { method: 'POST', body, headers, proxy: orders.outboundUrl });
  return { relay, service, orders, call };
}

test('onBrokerDown: passthrough sends a call that cannot be stored straight to its callee, and stores the next when it can', async () => {
  await using stack = new AsyncDisposableStack();
  const { relay, service, orders, call } = await start(stack, '30s');
  const stored = await call('stored');
  expect(stored).toMatchObject({ status: 201, text: 'stored' });
  expect(stored.header('holdline-call-id')).toBeDefined();

  await relay.cut();
  for (const [body, headers] of [
    ['passed', {}],
    ['passed with a key', { 'Idempotency-Key': 'k-1' }],
    ['passed, asked for asynchronously', { Prefer: 'respond-async' }],
  ] as const) {
    const passed = await call(body, headers);
    expect(passed).toMatchObject({ status: 201, text: body });
    expect(passed.header('holdline-call-id')).toBeUndefined();
    const received = service.requests.at(-1)!;
    expect(received.body.toString()).toBe(body);
    expect(received.header('holdline-attempt')).toBeUndefined();
  }
  expect(service.requests.at(-2)!.header('idempotency-key')).toBe('k-1');

  await relay.heal();
  await orders.ready();
  const again = await call('stored again');
  expect(again.header('holdline-call-id')).toBeDefined();
  expect(service.requests.map(({ body }) => body.toString())).toEqual([
    'stored',
    'passed',
    'passed with a key',
    'passed, asked for asynchronously',
    'stored again',
  ]);
});

test('a call that may have been stored is not passed through: its acknowledgement got lost', async () => {
  await using stack = new AsyncDisposableStack();
  const { relay, service, orders, call } = await start(stack, '2s');
  relay.stall('to-client');
  const expired = await call('in doubt');
  expect([expired.status, expired.header('holdline-error')]).toEqual([504, 'hold-expired']);
  await service.received(1);
  await relay.heal();
  await eventually(
    async () =>
      expect(await request(`${orders.outboundUrl}${expired.header('location')}`)).toMatchObject({
        status: 201,
        text: 'in doubt',
      }),
    { what: 'the answer of the call', timeoutMs: 30_000 },
  );
  expect(service.requests).toHaveLength(1);
});
