import { expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { startPair } from './pair.ts';

const body = Buffer.from(Array.from({ length: 2048 }, (_, at) => at % 256));

test('a call is answered byte for byte in all three ways of interception', async () => {
  await using pair = await startPair({
    status: 207,
    reason: 'Just So',
    headers: [
      ['X-Case', 'a'],
      ['x-case', 'b\u00e9'],
      ['Set-Cookie', 'one=1'],
      ['Set-Cookie', 'two=2'],
    ],
    body,
  });
  const ways = {
    proxy: { url: 'http://payments/charges//%2F?q=', options: { proxy: pair.orders.outboundUrl } },
    host: { url: 'http://payments/charges//%2F?q=', options: { listener: pair.orders.outboundUrl } },
    port: { url: `${pair.port}/charges//%2F?q=`, options: {} },
  };
  for (const [way, { url, options }] of Object.entries(ways)) {
    const sent = Buffer.from(`${way} sends this`);
    const answer = await request(url, {
      method: 'POST',
      body: sent,
      headers: { 'X-Kept': '1', 'Holdline-Spoofed': 'no' },
      ...options,
    });
    expect({ way, status: answer.status, reason: answer.reason }).toEqual({ way, status: 207, reason: 'Just So' });
    expect(answer.body.equals(body)).toBe(true);
    const own = answer.headers.filter(([name]) => /^(x-case|set-cookie)$/i.test(name));
    expect(own).toEqual([
      ['X-Case', 'a'],
      ['x-case', 'b\u00e9'],
      ['Set-Cookie', 'one=1'],
      ['Set-Cookie', 'two=2'],
    ]);
    const added = answer.headers
      .map(([name]) => name.toLowerCase())
      .filter((name) => /holdline|via|forwarded|replayed/.test(name));
    expect(added).toEqual(['holdline-call-id']);
    const received = pair.upstream.requests.at(-1)!;
    expect(received.target).toBe('/charges//%2F?q=');
    expect(received.body.equals(sent)).toBe(true);
    expect(received.header('holdline-caller')).toBe('orders');
    expect(received.header('holdline-attempt')).toBe('1');
    expect(received.header('holdline-spoofed')).toBeUndefined();
    expect(received.header('idempotency-key')).toBe(answer.header('holdline-call-id'));
  }
  expect(pair.upstream.requests).toHaveLength(3);
});
