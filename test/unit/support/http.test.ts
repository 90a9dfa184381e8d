import { afterEach, describe, expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { connectRaw, exchangeRaw } from '../../support/raw-http.ts';
import { startTcpRelay } from '../../support/tcp-relay.ts';
import { startUpstream } from '../../support/upstream.ts';

afterEach(expectNoLeaks);

async function* parts(...texts: string[]) {
  yield* texts;
}

describe('upstream', () => {
  test('records what the client sent, to the byte', async () => {
    await using upstream = await startUpstream();
    await request(`${upstream.url}/a//b?c=%2F`, {
      method: 'PATCH',
      headers: [
        ['X-Twice', '1'],
        ['x-TWICE', '2'],
      ],
      body: parts('one ', 'two'),
      trailers: [['X-Sum', '42']],
    });
    const [received] = await upstream.received(1);
    expect(received).toMatchObject({ method: 'PATCH', target: '/a//b?c=%2F', trailers: [['X-Sum', '42']] });
    expect(received?.body.toString()).toBe('one two');
    expect(received?.headers).toEqual(
      expect.arrayContaining([
        ['X-Twice', '1'],
        ['x-TWICE', '2'],
      ]),
    );
  });

  test('answers what the test says, to the byte', async () => {
    await using upstream = await startUpstream({
      status: 201,
      reason: 'Made It',
      headers: [
        ['Set-Cookie', 'a=1'],
        ['SET-cookie', 'b=2'],
      ],
      body: parts('ab', 'c'),
      trailers: [['X-Sum', '3']],
    });
    const raw = await exchangeRaw(upstream.port, 'GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
    expect(raw.bytes.toString('latin1')).toBe(
      'HTTP/1.1 201 Made It\r\nSet-Cookie: a=1\r\nSET-cookie: b=2\r\nConnection: close\r\n' +
        'Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX-Sum: 3\r\n\r\n',
    );
    expect(raw).toMatchObject({ status: 201, reason: 'Made It', trailers: [['X-Sum', '3']] });
    expect(raw.body.toString()).toBe('abc');
  });

  test('plays its script first, and holds an answer as long as the test likes', async () => {
    const latch = createLatch();
    await using upstream = await startUpstream({ body: 'always' });
    upstream.next({ status: 503 }, async () => {
      await latch.wait('the test to open');
      return { body: 'held' };
    });
    expect((await request(upstream.url)).status).toBe(503);
    const held = request(upstream.url);
    await upstream.received(2);
    latch.open();
    expect([(await held).text, (await request(upstream.url)).text]).toEqual(['held', 'always']);
  });

  test('misbehaves on demand', async () => {
    await using upstream = await startUpstream('reset');
    await expect(request(upstream.url)).rejects.toThrow(/ECONNRESET|hang up/);
    upstream.always('close');
    await expect(request(upstream.url)).rejects.toThrow(/hang up/);
    upstream.always({ raw: 'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort' });
    await expect(request(upstream.url)).rejects.toThrow(/aborted/);
  });

  test('refuses connections while it is down, and comes back on its port', async () => {
    await using upstream = await startUpstream();
    await upstream.down();
    await expect(request(upstream.url)).rejects.toThrow(/ECONNREFUSED/);
    await upstream.up();
    expect((await request(upstream.url)).status).toBe(200);
  });
});

describe('http client', () => {
  test.for([
    { how: 'proxy', target: 'http://payments/charges?a=1' },
    { how: 'listener', target: '/charges?a=1' },
  ])('goes through a $how', async ({ how, target }) => {
    await using upstream = await startUpstream({ body: '{"ok":true}' });
    const response = await request('http://payments/charges?a=1', { [how]: upstream.url, method: 'POST', body: 'x' });
    expect(response.json()).toEqual({ ok: true });
    expect(upstream.requests[0]).toMatchObject({ method: 'POST', target });
    expect(upstream.requests[0]?.header('host')).toBe('payments');
  });

  test('goes away when it is told to', async () => {
    const never = createLatch<never>();
    await using upstream = await startUpstream(() => never.wait());
    const leaving = new AbortController();
    const gone = expect(request(upstream.url, { signal: leaving.signal })).rejects.toThrow(/abort/);
    await upstream.received(1);
    leaving.abort();
    await gone;
  });
});

describe('raw connection', () => {
  test('reads pipelined and interim answers one by one', async () => {
    await using upstream = await startUpstream({
      raw:
        'HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst' +
        'HTTP/1.1 200\r\n\r\nto the end',
    });
    using connection = await connectRaw(upstream.port);
    connection.send('GET / HTTP/1.1\r\n\r\n');
    expect((await connection.readResponse()).headers).toEqual([['Link', '</a>']]);
    expect((await connection.readResponse()).body.toString()).toBe('first');
    const last = await connection.readResponse();
    expect([last.reason, last.body.toString()]).toEqual(['', 'to the end']);
    expect((await connection.readToEnd()).length).toBe(0);
  });

  test('a truncated answer is an error that shows what came', async () => {
    await using upstream = await startUpstream({ raw: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab' });
    await expect(exchangeRaw(upstream.port, 'GET / HTTP/1.1\r\n\r\n')).rejects.toThrow(/in the middle.*5\\r\\nab/);
  });
});

describe('tcp relay', () => {
  test('passes, keeps back, cuts and heals', async () => {
    await using upstream = await startUpstream({ body: 'through' });
    await using relay = await startTcpRelay(upstream.port);
    const url = `http://127.0.0.1:${relay.port}`;
    expect((await request(url)).text).toBe('through');

    relay.stall('to-client');
    const kept = request(url);
    await upstream.received(2);
    relay.stall();
    const silent = request(url);
    await relay.heal();
    expect([(await kept).text, (await silent).text]).toEqual(['through', 'through']);

    relay.stall();
    const lost = expect(request(url)).rejects.toThrow(/ECONNRESET|hang up/);
    await relay.established(4);
    await relay.cut();
    await lost;
    await expect(request(url)).rejects.toThrow(/ECONNREFUSED/);
    expect(upstream.requests.length).toBe(3);

    await relay.heal();
    expect((await request(url)).text).toBe('through');
  });
});
