import { createHash, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request, type ClientResponse, type RequestOptions } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startUpstream, type HttpAnswer } from '../../support/upstream.ts';
import { brokers, startSystem, type System } from '../limits/system.ts';

const KB = 1024;
const MB = 1024 * KB;
const large = 5 * MB + 1;
/** `maxBody` by default. */
const random = randomBytes(32 * MB);
const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');
/** Another part of the same random bytes for each size. */
const bytesOf = (size: number) => random.subarray(random.length - size);

async function* inParts(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 50_001) yield bytes.subarray(at, at + 50_001);
}

function call(system: System, options: RequestOptions = {}): Promise<ClientResponse> {
  return request('http://payments/charges', { method: 'POST', proxy: system.orders.outboundUrl, ...options });
}

describe.each(brokers)('large bodies on $name', ({ open }) => {
  test('come through both ways as they are, whatever their size and framing', async () => {
    await using callee = await startUpstream(({ target, body }): HttpAnswer => {
      const answer = bytesOf(Number(target.slice(target.indexOf('=') + 1)));
      const got = sha256(body);
      if (!target.includes('chunked')) return { headers: { 'X-Got': got }, body: answer };
      const headers = { 'X-Got': got, Trailer: 'X-After' };
      return { headers, body: inParts(answer), trailers: [['X-After', 'end']] };
    });
    await using system = await startSystem({ open, url: callee.url });
    for (const size of [1, 512 * KB, 512 * KB + 1, MB, MB + 1, large, 32 * MB]) {
      const body = random.subarray(0, size);
      for (const chunked of size > large ? [false] : [false, true]) {
        const path = `/${chunked ? 'chunked' : 'sized'}?size=${size}`;
        const answer = await request(`http://payments${path}`, {
          method: 'POST',
          proxy: system.orders.outboundUrl,
          body: chunked ? inParts(body) : body,
          ...(chunked && { trailers: [['X-Last', 'words']] }),
        });
        expect([size, chunked, answer.status, answer.header('x-got')]).toEqual([size, chunked, 200, sha256(body)]);
        expect(sha256(answer.body)).toBe(sha256(bytesOf(size)));
        expect(answer.header('content-length')).toBe(chunked ? undefined : String(size));
        expect(answer.trailers).toEqual(chunked ? [['X-After', 'end']] : []);
        const sent = callee.requests.at(-1)!;
        expect(sent.header('content-length')).toBe(chunked ? undefined : String(size));
        expect(sent.trailers).toEqual(chunked ? [['X-Last', 'words']] : []);
      }
    }
  });

  test('over maxBody are refused as soon as that is known, and an answer over it is a dead letter', async () => {
    await using callee = await startUpstream(() => ({ body: bytesOf(3 * MB) }));
    await using system = await startSystem({ open, url: callee.url, route: { maxBody: '2MB' } });
    using declared = await connectRaw(Number(new URL(system.orders.outboundUrl).port));
    const head = 'POST /charges HTTP/1.1\r\nHost: payments\r\nExpect: 100-continue\r\n';
    declared.send(`${head}Content-Length: ${2 * MB + 1}\r\n\r\n`);
    expect(await declared.readResponse()).toMatchObject({ status: 413 });
    using chunked = await connectRaw(Number(new URL(system.orders.outboundUrl).port));
    chunked.send(`${head}Transfer-Encoding: chunked\r\n\r\n`);
    expect(await chunked.readResponse()).toMatchObject({ status: 100 });
    for (let sent = 0; sent <= 2 * MB; sent += 64 * KB) {
      chunked.send(Buffer.concat([Buffer.from('10000\r\n'), bytesOf(64 * KB), Buffer.from('\r\n')]));
    }
    expect(await chunked.readResponse()).toMatchObject({ status: 413 });
    expect(callee.requests).toHaveLength(0);
    const answer = await call(system, { body: bytesOf(2 * MB) });
    expect([answer.status, answer.header('holdline-error')]).toEqual([502, 'answer-too-large']);
  });

  test('one answer for every caller of a key, and for whoever asks for it', async () => {
    const hold = createLatch();
    await using callee = await startUpstream(async () => {
      await hold.wait();
      return { status: 201, body: bytesOf(large) };
    });
    await using system = await startSystem({ open, url: callee.url });
    const body = random.subarray(0, large);
    const headers = { 'Idempotency-Key': 'once' };
    const callers = [1, 2, 3].map(() => call(system, { headers, body }));
    await callee.received(1);
    hold.open();
    for (const caller of callers) {
      const answer = await caller;
      expect([answer.status, sha256(answer.body)]).toEqual([201, sha256(bytesOf(large))]);
    }
    const first = await callers[0]!;
    const again = await call(system, { headers, body });
    const location = `/.holdline/calls/${first.header('holdline-call-id')}`;
    const asked = await request(`http://payments${location}`, { proxy: system.orders.outboundUrl });
    for (const replayed of [again, asked]) {
      expect([replayed.status, replayed.header('idempotent-replayed')]).toEqual([201, 'true']);
      expect(sha256(replayed.body)).toBe(sha256(bytesOf(large)));
    }
    const other = await call(system, { headers, body: bytesOf(large) });
    expect([other.status, other.header('holdline-error')]).toEqual([422, 'key-reused']);
    expect(callee.requests).toHaveLength(1);
  });

  test('are sent again as they were after the sidecar of the callee was killed in the middle', async () => {
    const began = createLatch();
    const hold = createLatch();
    await using callee = await startUpstream({ body: 'never' });
    callee.next(async () => {
      began.open();
      await hold.wait();
      return { body: 'too late' };
    });
    callee.always(({ body }) => ({ body: inParts(bytesOf(large)), headers: { 'X-Got': sha256(body) } }));
    await using system = await startSystem({ open, url: callee.url });
    const body = random.subarray(0, large);
    const answering = call(system, { method: 'PUT', body });
    await began.wait();
    await system.payments.kill9();
    await system.payments.restart();
    const answer = await answering;
    hold.open();
    expect([answer.status, answer.header('x-got')]).toEqual([200, sha256(body)]);
    expect(sha256(answer.body)).toBe(sha256(bytesOf(large)));
  });

  test('a caller that goes away in the middle leaves nothing', async () => {
    await using callee = await startUpstream({ body: 'ok' });
    await using system = await startSystem({ open, url: callee.url });
    using raw = await connectRaw(Number(new URL(system.orders.outboundUrl).port));
    raw.send(`PUT /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: ${large}\r\n\r\n`);
    raw.send(bytesOf(large - 1));
    raw.reset();
    await eventually(
      async () => {
        const { outbound } = (await request(`${system.orders.adminUrl}/ready`)).json() as {
          outbound: { held: number };
        };
        expect(outbound.held).toBe(0);
      },
      { what: 'the caller to be let go' },
    );
    expect(await call(system, { body: bytesOf(large) })).toMatchObject({ status: 200 });
    expect(callee.requests).toHaveLength(1);
  });
});
