import { expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { startUpstream } from '../../support/upstream.ts';

test.for(['header', 'none'])(
  'a durable call that comes back to its sidecar ends at once: %s',
  async (idempotencyKey) => {
    await using server = await startNatsServer();
    const routes = [{ name: 'charge', match: { host: 'payments' }, idempotencyKey }];
    await using orders = await startSidecar({ service: 'orders', broker: server.url, outbound: { routes } });
    // A mistake that is easily made: the address of a sidecar where that of the service should be.
    await using _payments = await startSidecar({
      service: 'payments',
      broker: server.url,
      inbound: [{ url: orders.outboundUrl }],
    });
    for (const method of ['GET', 'POST']) {
      const answer = await request('http://payments/a', { method, proxy: orders.outboundUrl });
      expect(answer.status).toBe(508);
      expect(answer.text).toContain('it came back to the sidecar that sent it');
      expect(answer.header('proxy-status')).toBe('holdline; error=proxy_loop_detected');
    }
  },
);

test('a service that passes on the fields of its calls makes calls of its own with them', async () => {
  await using server = await startNatsServer();
  await using ledger = await startUpstream({ body: 'booked' });
  const routes = [{ name: 'any', match: { host: '*' } }];
  await using payments = await startSidecar({
    service: 'payments',
    broker: server.url,
    outbound: { routes },
    inbound: [{ service: 'ledger', url: ledger.url }],
  });
  await using service = await startUpstream(async ({ headers }) => {
    const answer = await request('http://ledger/b', {
      proxy: payments.outboundUrl,
      headers: [...headers].filter(isOwn),
    });
    return { status: answer.status, body: answer.text };
  });
  await using _inbound = await startSidecar({ service: 'shop', broker: server.url, inbound: [{ url: service.url }] });
  const answer = await request('http://shop/a', { proxy: payments.outboundUrl });
  expect(answer).toMatchObject({ status: 200, text: 'booked' });
});

function isOwn([name]: readonly [string, string]): boolean {
  return /^holdline-/i.test(name);
}
