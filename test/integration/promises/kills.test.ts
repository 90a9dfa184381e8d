import { expect, test } from 'vitest';
import { createLatch } from '../../support/latch.ts';
import { request } from '../../support/http-client.ts';
import { runHoldline } from '../../support/command-line.ts';
import { startPair } from './pair.ts';

test("kill -9 of the caller's sidecar while a keyed call is held: the retry gets the one answer of the one execution", async () => {
  const release = createLatch();
  await using pair = await startPair(async () => {
    await release.wait('the charge to be let through');
    return { status: 201, body: 'the one answer' };
  });
  const send = () =>
    request('http://payments/charges', {
      method: 'POST',
      body: 'charge',
      headers: { 'Idempotency-Key': 'order-1' },
      proxy: pair.orders.outboundUrl,
    });
  const first = expect(send()).rejects.toThrow(/hang up|reset/i);
  await pair.upstream.received(1);
  await pair.orders.kill9();
  await first;
  release.open();
  await pair.orders.restart();
  expect(await send()).toMatchObject({ status: 201, text: 'the one answer' });
  const again = await send();
  expect(again.text).toBe('the one answer');
  expect(again.header('idempotent-replayed')).toBe('true');
  expect(pair.upstream.requests).toHaveLength(1);
});

test('broker and callee sidecar killed together in the middle of a POST: it is not sent twice, and ends as a dead letter', async () => {
  const never = createLatch();
  await using pair = await startPair(async () => {
    await never.wait('the end of the test');
    return { status: 201 };
  });
  const accepted = await request('http://payments/charges', {
    method: 'POST',
    body: 'charge',
    headers: { Prefer: 'respond-async' },
    proxy: pair.orders.outboundUrl,
  });
  expect(accepted.status).toBe(202);
  await pair.upstream.received(1);
  await Promise.all([pair.server.kill9(), pair.payments.kill9()]);
  await pair.server.restart();
  await pair.payments.restart();
  const answer = await request(`${pair.orders.outboundUrl}${accepted.header('location')}`, {
    headers: { Prefer: 'wait=40' },
  });
  expect(answer.status).toBe(502);
  expect(answer.header('holdline-error')).toBe('outcome-unknown');
  expect(pair.upstream.requests).toHaveLength(1);
  const listed = await runHoldline(['dead-letters', 'list', '--json', '--broker', pair.server.url]);
  const { deadLetters } = JSON.parse(listed.stdout) as { deadLetters: { id: string; reason: string }[] };
  expect(deadLetters).toMatchObject([{ id: accepted.header('holdline-call-id'), reason: 'outcome-unknown' }]);
  never.open();
});

test("a call that the callee's sidecar was sending when it was killed cannot be cancelled, also where it may be repeated", async () => {
  const release = createLatch();
  await using pair = await startPair(async () => {
    await release.wait('the end of the attempt');
    return { status: 200, body: 'done' };
  });
  const accepted = await request('http://payments/charges/1', {
    method: 'PUT',
    body: 'charge',
    headers: { Prefer: 'respond-async' },
    proxy: pair.orders.outboundUrl,
  });
  await pair.upstream.received(1);
  await pair.payments.kill9();
  const location = `${pair.orders.outboundUrl}${accepted.header('location')}`;
  const refused = await request(location, { method: 'DELETE' });
  expect([refused.status, refused.header('holdline-error')]).toEqual([409, 'call-started']);
  release.open();
  await pair.payments.restart();
  expect(await request(location, { headers: { Prefer: 'wait=30' } })).toMatchObject({ status: 200, text: 'done' });
});

test('the broker killed and restarted under load: every accepted call is answered, and nothing is executed twice', async () => {
  await using pair = await startPair((received) => ({ status: 201, body: received.body }));
  let next = 0;
  const stop = new AbortController();
  const answered = new Map<string, string>();
  const open: { token: string; location: string }[] = [];
  const refused = new Map<string, string>();
  const caller = async () => {
    while (!stop.signal.aborted) {
      const token = `call ${next++}`;
      const answer = await request('http://payments/charges', {
        method: 'POST',
        body: token,
        proxy: pair.orders.outboundUrl,
      });
      if (answer.status === 201) answered.set(token, answer.text);
      else if (answer.header('location') !== undefined) open.push({ token, location: answer.header('location')! });
      else {
        refused.set(token, answer.header('holdline-error') ?? `status ${answer.status}`);
      }
    }
  };
  const callers = Promise.all(Array.from({ length: 16 }, caller));
  for (let round = 0; round < 3; round++) {
    const before = answered.size;
    await pair.upstream.received(pair.upstream.requests.length + 50);
    await pair.server.kill9();
    await pair.server.restart();
    await expect.poll(() => answered.size, { timeout: 40_000 }).toBeGreaterThan(before);
  }
  stop.abort();
  await callers;
  for (const { token, location } of open) {
    const answer = await request(`${pair.orders.outboundUrl}${location}`, { headers: { Prefer: 'wait=30' } });
    expect(answer.status).toBe(201);
    answered.set(token, answer.text);
  }
  for (const [token, text] of answered) expect(text).toBe(token);
  expect(answered.size + refused.size).toBe(next);
  expect([...refused.values()].filter((error) => error !== 'broker-unavailable')).toEqual([]);
  const executions = Map.groupBy(pair.upstream.requests, ({ body }) => body.toString());
  for (const token of answered.keys()) expect(executions.get(token)).toHaveLength(1);
  for (const token of refused.keys()) expect(executions.has(token)).toBe(false);
});
