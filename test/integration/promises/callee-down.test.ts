import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { startPair } from './pair.ts';

const calls = 200;

test(`${calls} calls made while the callee is down are answered once it is up, each executed once`, async () => {
  await using pair = await startPair((received) => ({ status: 201, body: received.body }));
  await pair.upstream.down();
  const answers = Promise.all(
    Array.from({ length: calls }, (_, number) =>
      request('http://payments/charges', { method: 'POST', body: `call ${number}`, proxy: pair.orders.outboundUrl }),
    ),
  );
  await eventually(
    async () => {
      const { outbound } = (await request(`${pair.orders.adminUrl}/ready`)).json() as { outbound: { held: number } };
      expect(outbound.held).toBe(calls);
    },
    { what: 'all calls to be held' },
  );
  await pair.upstream.up();
  for (const [number, answer] of (await answers).entries()) {
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 201, text: `call ${number}` });
  }
  const executed = pair.upstream.requests.map(({ body }) => body.toString());
  expect(new Set(executed).size).toBe(calls);
  expect(executed).toHaveLength(calls);
  // Waiting for a service that is down costs no attempt.
  expect(new Set(pair.upstream.requests.map((received) => received.header('holdline-attempt')))).toEqual(
    new Set(['1']),
  );
});
