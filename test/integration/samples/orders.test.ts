import { createServer } from 'node:http';
import { afterEach, expect, test } from 'vitest';
import { freePort } from '../../support/free-port.ts';
import { request } from '../../support/http-client.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { type SampleService, startSample } from './sample-service.ts';

afterEach(expectNoLeaks);

function order(orders: SampleService, amount: number, headers: Record<string, string> = {}) {
  return request(`${orders.url}/orders`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify({ customer: 'ada', amount }),
  });
}

async function chargesOf(payments: SampleService): Promise<{ id: string; orderId: string }[]> {
  const answer = await request(`${payments.url}/charges`);
  return (answer.json() as { charges: { id: string; orderId: string }[] }).charges;
}

test('an order is charged by payments and made known to notifications', async () => {
  await using payments = await startSample('payments');
  await using notifications = await startSample('notifications');
  await using orders = await startSample('orders', {
    PAYMENTS_URL: payments.url,
    NOTIFICATIONS_URL: `${notifications.url}/`,
  });

  const answer = await order(orders, 12);
  expect(answer.status).toBe(201);
  const placed = answer.json() as { id: string };
  const [charge] = await chargesOf(payments);
  expect(placed).toMatchObject({ customer: 'ada', amount: 12, status: 'paid', payment: charge });
  expect(charge?.orderId).toBe(placed.id);
  expect((await request(`${orders.url}/orders`)).json()).toEqual({ orders: [placed] });
  expect((await request(`${orders.url}/orders/${placed.id}`)).json()).toEqual(placed);
  const { received } = (await request(`${notifications.url}/received`)).json() as { received: { body: unknown }[] };
  expect(received.map(({ body }) => body)).toEqual([placed]);
});

test('a retry with the same key pays for the order that failed, and is then answered with it', async () => {
  const port = await freePort();
  await using orders = await startSample('orders', { PAYMENTS_URL: `http://127.0.0.1:${port}` });
  const key = { 'Idempotency-Key': 'k' };

  const failed = await order(orders, 12, key);
  expect(failed.status).toBe(502);
  await using payments = await startSample('payments', { PORT: String(port) });
  const paid = await order(orders, 12, key);
  expect(paid.status).toBe(201);
  expect((paid.json() as { id: string }).id).toBe((failed.json() as { order: { id: string } }).order.id);
  expect((await order(orders, 12, key)).json()).toEqual(paid.json());
  expect(await chargesOf(payments)).toHaveLength(1);
  expect((await order(orders, 13, key)).status).toBe(422);
});

test('a charge that is only accepted leaves the order pending until the callback comes', async () => {
  const port = await freePort();
  await using accepting = createServer((incoming, response) => {
    incoming.resume();
    response.writeHead(202, { 'Content-Type': 'application/json' }).end('{"id":"later"}');
  });
  await new Promise<void>((listening) => accepting.listen(port, '127.0.0.1', listening));
  await using orders = await startSample('orders', { PAYMENTS_URL: `http://127.0.0.1:${port}` });

  const answer = await order(orders, 12);
  expect(answer.status).toBe(201);
  const { id } = answer.json() as { id: string };
  expect(answer.json()).toMatchObject({ status: 'pending', payment: { id: 'later' } });
  const charge = { id: 'ch_1', orderId: id };
  const callback = { method: 'POST', headers: { 'X-Seen': 'yes' }, body: JSON.stringify(charge) };
  expect((await request(`${orders.url}/charge-done`, callback)).status).toBe(204);
  expect((await request(`${orders.url}/orders/${id}`)).json()).toMatchObject({ status: 'paid', payment: charge });
  const { callbacks } = (await request(`${orders.url}/charge-done`)).json() as { callbacks: unknown[] };
  expect(callbacks).toMatchObject([{ headers: { 'x-seen': 'yes' }, body: charge }]);
});

test('a service whose port is taken says so and fails', async () => {
  await using orders = await startSample('orders');
  await expect(startSample('payments', { PORT: String(orders.port) })).rejects.toThrow('EADDRINUSE');
});
