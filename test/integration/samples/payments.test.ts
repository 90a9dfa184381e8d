import { afterEach, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { startSample } from './sample-service.ts';

afterEach(expectNoLeaks);

const json = { 'Content-Type': 'application/json' };
const charge = JSON.stringify({ customer: 'ada', amount: 12 });

test('payments charges, once per key and each time without one', async () => {
  await using payments = await startSample('payments');
  const post = (headers: Record<string, string>, body = charge) =>
    request(`${payments.url}/charges`, { method: 'POST', headers: { ...json, ...headers }, body });

  const first = await post({ 'Idempotency-Key': 'a' });
  expect(first.status).toBe(201);
  expect(first.json()).toMatchObject({ customer: 'ada', amount: 12 });
  expect((await post({ 'Idempotency-Key': 'a' })).json()).toEqual(first.json());
  expect((await post({ 'Idempotency-Key': 'b' })).json()).not.toEqual(first.json());
  await post({});
  await post({});

  const { charges } = (await request(`${payments.url}/charges`)).json() as { charges: { id: string }[] };
  expect(new Set(charges.map(({ id }) => id)).size).toBe(4);
  expect((await request(`${payments.url}/charges/${charges[0]?.id}`)).json()).toEqual(first.json());
});

test('payments refuses a key that comes with another request, and what is no charge', async () => {
  await using payments = await startSample('payments');
  const post = (body: string) =>
    request(`${payments.url}/charges`, { method: 'POST', headers: { ...json, 'Idempotency-Key': 'a' }, body });

  expect((await post('{"customer":"ada"}')).status).toBe(400);
  expect((await post('not json')).status).toBe(400);
  expect((await post(charge)).status).toBe(201);
  expect((await post('{"customer":"ada","amount":13}')).status).toBe(422);
  expect((await request(`${payments.url}/charges`, { method: 'DELETE' })).status).toBe(405);
  expect((await request(`${payments.url}/nowhere`)).status).toBe(404);
});

test('payments finishes a charge that it is working on when it is told to stop', async () => {
  await using payments = await startSample('payments', { CHARGE_DELAY_MS: '500' });
  const answer = request(`${payments.url}/charges`, { method: 'POST', headers: json, body: charge });
  // Made before it is answered, so the request is surely inside when the signal comes.
  await eventually(
    async () => expect((await request(`${payments.url}/charges`)).json()).toMatchObject({ charges: [{}] }),
    { what: 'the charge to be made' },
  );
  const exit = payments.process.terminate();
  expect((await answer).status).toBe(201);
  expect(await exit).toEqual({ code: 0, signal: null });
});
