import { createHash } from 'node:crypto';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { eventually } from '../../support/eventually.ts';
import { type SampleService, startSample } from './sample-service.ts';

let peer: SampleService;

beforeAll(async () => {
  peer = await startSample('misbehaving');
});

afterAll(async () => {
  await peer[Symbol.asyncDispose]();
  expectNoLeaks();
});

function visit(target: string, key: string, body = 'x') {
  return request(peer.url + target, { method: 'POST', headers: { 'X-Key': key }, body });
}

async function countsOf(key: string): Promise<unknown> {
  return ((await request(`${peer.url}/executions`)).json() as Record<string, unknown>)[key];
}

test('echo shows the request as it arrived', async () => {
  const body = 'payload '.repeat(100_000);
  const answer = await request(`${peer.url}/echo/a%2Fb//c?q=1&q=2`, {
    method: 'PATCH',
    headers: [
      ['X-MiXeD', '1'],
      ['X-MiXeD', '2'],
    ],
    body,
  });
  const seen = answer.json() as { rawHeaders: string[] };
  expect(seen).toMatchObject({
    method: 'PATCH',
    target: '/echo/a%2Fb//c?q=1&q=2',
    bodyLength: body.length,
    bodySha256: createHash('sha256').update(body).digest('hex'),
  });
  expect(seen.rawHeaders.join(' ')).toContain('X-MiXeD 1 X-MiXeD 2');
});

test('flaky fails as often as asked for each key', async () => {
  const statuses: number[] = [];
  for (const key of ['flaky-1', 'flaky-1', 'flaky-1', 'flaky-2']) {
    statuses.push((await visit('/flaky?times=2&status=500', key)).status);
  }
  expect(statuses).toEqual([500, 500, 200, 500]);
  expect(await countsOf('flaky-1')).toEqual({ received: 3, executed: 3 });
});

test('status answers with the status and its Retry-After', async () => {
  const answer = await visit('/status/429?retry-after=7', 'status');
  expect([answer.status, answer.header('Retry-After')]).toEqual([429, '7']);
  expect((await visit('/status/204', 'status')).text).toBe('');
  expect((await visit('/status/99', 'status')).status).toBe(400);
});

test('a reset after the body counts as executed, one before it does not', async () => {
  await expect(visit('/reset-after', 'after')).rejects.toThrow(/hang up|ECONNRESET/);
  await expect(visit('/reset-before', 'before')).rejects.toThrow(/hang up|ECONNRESET|EPIPE/);
  expect(await countsOf('after')).toEqual({ received: 1, executed: 1 });
  expect(await countsOf('before')).toEqual({ received: 1, executed: 0 });
});

test('half breaks off in the middle of the answer', async () => {
  await expect(visit('/half?bytes=100', 'half')).rejects.toThrow(/aborted|ECONNRESET/);
});

test('slow, drip and huge answer in full', async () => {
  expect((await visit('/slow?ms=1', 'slow')).json()).toEqual({ waited: 1 });
  expect((await visit('/drip?bytes=5&ms=1', 'drip')).text).toBe('.....');
  expect((await visit('/huge?bytes=3000001', 'huge')).body).toHaveLength(3_000_001);
  const chunked = await visit('/huge?bytes=100001&chunked', 'huge');
  expect([chunked.body.length, chunked.header('Transfer-Encoding')]).toEqual([100_001, 'chunked']);
});

test('early answers before the body is there', async () => {
  using connection = await connectRaw(peer.port);
  connection.send('POST /early HTTP/1.1\r\nHost: peer\r\nContent-Length: 1000\r\nX-Key: early\r\n\r\n');
  expect((await connection.readResponse()).status).toBe(413);
  expect(await countsOf('early')).toEqual({ received: 1, executed: 0 });
});

test('odd answers with everything that is easily lost', async () => {
  using connection = await connectRaw(peer.port);
  connection.send('GET /odd HTTP/1.1\r\nHost: peer\r\n\r\n');
  const answer = await connection.readResponse();
  expect(answer.statusLine).toBe('HTTP/1.1 299 Odd But Fine');
  expect(answer.headers.slice(0, 6)).toEqual([
    ['Content-Type', 'text/plain; charset=utf-8'],
    ['X-MiXeD-CaSe', 'kept'],
    ['Set-Cookie', 'a=1'],
    ['X-Between', 'cookies'],
    ['Set-Cookie', 'b=2'],
    ['X-Empty', ''],
  ]);
  expect(answer.body.toString()).toBe('odd but fine');
  expect(answer.trailers).toEqual([['X-Checksum', 'odd-but-fine']]);
});

test('garbage is not HTTP', async () => {
  using connection = await connectRaw(peer.port);
  connection.send('GET /garbage HTTP/1.1\r\nHost: peer\r\n\r\n');
  expect((await connection.readToEnd()).toString()).toBe('this is not HTTP\r\n\r\n');
});

test('a target that is no URL is answered as well', async () => {
  using connection = await connectRaw(peer.port);
  connection.send('OPTIONS * HTTP/1.1\r\nHost: peer\r\n\r\nGET // HTTP/1.1\r\nHost: peer\r\n\r\n');
  expect((await connection.readResponse()).status).toBe(404);
  expect((await connection.readResponse()).status).toBe(404);
});

test('it stops at once, also while a request hangs', async () => {
  await using own = await startSample('misbehaving');
  const hanging = request(`${own.url}/hang`, { method: 'POST', headers: { 'X-Key': 'hang' }, body: 'x' });
  const broken = expect(hanging).rejects.toThrow(/hang up|ECONNRESET/);
  await eventually(
    async () => {
      const counts = (await request(`${own.url}/executions`)).json();
      expect(counts).toEqual({ hang: { received: 1, executed: 1 } });
    },
    { what: 'the request to hang' },
  );
  expect(await own.process.terminate()).toEqual({ code: 0, signal: null });
  await broken;
});

test('the counts can be forgotten', async () => {
  await visit('/echo', 'forget');
  await request(`${peer.url}/executions`, { method: 'DELETE' });
  expect(await countsOf('forget')).toBeUndefined();
});
