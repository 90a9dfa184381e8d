import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { request, type RequestOptions } from '../../support/http-client.ts';
import { startPair, type Pair } from './pair.ts';

/** The rows of the answer table that two sidecars and a callee can show together. */
describe('what the caller sees', () => {
  let pair: Pair;
  beforeAll(async () => {
    pair = await startPair(
      { status: 200, body: 'ok' },
      { hold: '20s', deadline: '3s', retry: { attempts: 2, backoff: '10ms..20ms' } },
    );
  });
  afterAll(async () => await pair[Symbol.asyncDispose]());

  const call = (options: RequestOptions = {}, path = '/charges') =>
    request(`http://payments${path}`, { method: 'POST', body: 'b', proxy: pair.orders.outboundUrl, ...options });

  test("attempts exhausted: the callee's last real answer with the outcome", async () => {
    pair.upstream.next({ status: 503, body: 'first' }, { status: 503, body: 'last' });
    const answer = await call();
    expect(answer).toMatchObject({ status: 503, text: 'last' });
    expect(answer.header('holdline-outcome')).toBe('exhausted');
    expect(answer.header('holdline-error')).toBeUndefined();
  });

  test('never answered and idempotent: 502 exhausted', async () => {
    pair.upstream.next('reset', 'reset');
    const answer = await call({ method: 'PUT' });
    expect(answer.status).toBe(502);
    expect(answer.header('holdline-error')).toBe('exhausted');
    expect(answer.header('content-type')).toBe('application/problem+json');
    expect(answer.header('proxy-status')).toMatch(/^holdline; error=\w+$/);
  });

  test('a key whose call ended exhausted starts it again under the same id', async () => {
    const key = { 'Idempotency-Key': 'again' };
    pair.upstream.next({ status: 503 }, { status: 503 });
    const failed = await call({ headers: key });
    expect(failed.header('holdline-outcome')).toBe('exhausted');
    const answer = await call({ headers: key });
    expect(answer).toMatchObject({ status: 200, text: 'ok' });
    expect(answer.header('holdline-call-id')).toBe(failed.header('holdline-call-id'));
    expect(pair.upstream.requests.at(-1)!.header('holdline-attempt')).toBe('3');
  });

  test('sent, no answer, by a method of WebDAV that only reads: sent again', async () => {
    pair.upstream.next('reset', { status: 207, body: 'listed' });
    expect(await call({ method: 'PROPFIND' })).toMatchObject({ status: 207, text: 'listed' });
    expect(pair.upstream.requests.at(-1)!.header('holdline-attempt')).toBe('2');
  });

  test('sent, no answer, not idempotent: 502 outcome-unknown, and never sent again', async () => {
    const before = pair.upstream.requests.length;
    pair.upstream.next('reset');
    const answer = await call({ headers: { 'Idempotency-Key': 'unknown' } });
    expect([answer.status, answer.header('holdline-error')]).toEqual([502, 'outcome-unknown']);
    const again = await call({ headers: { 'Idempotency-Key': 'unknown' } });
    expect([again.status, again.header('holdline-error')]).toEqual([502, 'outcome-unknown']);
    expect(pair.upstream.requests).toHaveLength(before + 1);
    const trace = pair.upstream.requests.at(-1)!.header('traceparent')!.split('-')[1]!;
    const logged = () =>
      pair.payments.logs.split('\n').find((line) => line.includes('"msg":"dead letter"') && line.includes(trace)) ?? '';
    await expect.poll(logged, { timeout: 20_000 }).toContain(answer.header('holdline-call-id'));
  });

  test('another request under a key: 422', async () => {
    await call({ headers: { 'Idempotency-Key': 'mine' } });
    const answer = await call({ headers: { 'Idempotency-Key': 'mine' }, body: 'other' });
    expect([answer.status, answer.header('holdline-error')]).toEqual([422, 'key-reused']);
  });

  test('the service is down until after the deadline: 504 deadline-exceeded', async () => {
    await pair.upstream.down();
    try {
      const answer = await call();
      expect([answer.status, answer.header('holdline-error')]).toEqual([504, 'deadline-exceeded']);
    } finally {
      await pair.upstream.up();
    }
  });

  test('a waiting call can be cancelled, and is then never sent', async () => {
    await pair.upstream.down();
    const before = pair.upstream.requests.length;
    try {
      const accepted = await call({ headers: { Prefer: 'respond-async' } });
      const location = `${pair.orders.outboundUrl}${accepted.header('location')}`;
      expect((await request(location)).status).toBe(202);
      expect((await request(location, { method: 'DELETE' })).status).toBe(204);
      const gone = await request(location);
      expect([gone.status, gone.header('holdline-error')]).toEqual([410, 'cancelled']);
      expect((await request(location, { method: 'DELETE' })).status).toBe(409);
    } finally {
      await pair.upstream.up();
    }
    await call();
    expect(pair.upstream.requests).toHaveLength(before + 1);
  });

  test('hold expired: 504 with Location, where the answer is later', async () => {
    const answer = await (async () => {
      await pair.upstream.down();
      const held = await call({ headers: { Prefer: 'wait=1' } });
      await pair.upstream.up();
      return held;
    })();
    expect([answer.status, answer.header('holdline-error')]).toEqual([504, 'hold-expired']);
    expect(Number(answer.header('retry-after'))).toBeGreaterThan(0);
    const later = await request(`${pair.orders.outboundUrl}${answer.header('location')}`, {
      headers: { Prefer: 'wait=20' },
    });
    expect(later).toMatchObject({ status: 200, text: 'ok' });
    expect(later.header('idempotent-replayed')).toBe('true');
  });

  test('an unknown call: 404 call-unknown', async () => {
    const answer = await request(`${pair.orders.outboundUrl}/.holdline/calls/nothing`);
    expect([answer.status, answer.header('holdline-error')]).toEqual([404, 'call-unknown']);
  });

  test('the broker is away: 503 broker-unavailable, and nothing is executed later', async () => {
    const before = pair.upstream.requests.length;
    await pair.server.kill9();
    try {
      // The first one may meet the short patience for a broker that was there a moment ago.
      const answer = await call();
      expect([answer.status, answer.header('holdline-error')]).toEqual([503, 'broker-unavailable']);
      expect(Number(answer.header('retry-after'))).toBeGreaterThan(0);
    } finally {
      await pair.server.restart();
    }
    await expect
      .poll(async () => (await request(`${pair.orders.adminUrl}/ready`)).status, { timeout: 30_000 })
      .toBe(200);
    expect(await call()).toMatchObject({ status: 200 });
    expect(pair.upstream.requests).toHaveLength(before + 1);
  });
});
