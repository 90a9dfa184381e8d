import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectRaw, exchangeRaw } from '../../support/raw-http.ts';
import { header, openRoom, problemOf, requestBytes, send, type Room } from './room.ts';

let room: Room;

beforeAll(async () => {
  room = await openRoom({ maxBody: 1000 }, { unmatched: 'deny' });
});
afterAll(() => room[Symbol.asyncDispose]());

const post = 'POST / HTTP/1.1\nHost: payments';

describe('what is no HTTP, or could be read in two ways, is refused and the connection closed', () => {
  test.for<[what: string, status: number, bytes: string]>([
    ['two Host headers', 400, requestBytes('GET / HTTP/1.1\nHost: a\nHost: b')],
    ['two equal Host headers', 400, requestBytes('GET / HTTP/1.1\nHost: payments\nHost: payments')],
    ['no Host', 400, requestBytes('GET / HTTP/1.1\nA: b')],
    ['a malformed Host', 400, requestBytes('GET / HTTP/1.1\nHost: a/b')],
    ['a malformed authority', 400, requestBytes('GET http://u@payments/ HTTP/1.1\nHost: payments')],
    [
      'Content-Length and Transfer-Encoding',
      400,
      requestBytes(`${post}\nContent-Length: 3\nTransfer-Encoding: chunked`, 'abc'),
    ],
    ['the other way round', 400, requestBytes(`${post}\nTransfer-Encoding: chunked\nContent-Length: 3`, '0\r\n\r\n')],
    ['two Content-Lengths', 400, requestBytes(`${post}\nContent-Length: 3\nContent-Length: 4`, 'abcd')],
    ['a Content-Length list', 400, requestBytes(`${post}\nContent-Length: 3, 3`, 'abc')],
    ['a negative Content-Length', 400, requestBytes(`${post}\nContent-Length: -1`)],
    ['a space before the colon', 400, 'GET / HTTP/1.1\r\nHost : payments\r\n\r\n'],
    ['a folded header', 400, 'GET / HTTP/1.1\r\nHost: payments\r\nA: b\r\n c\r\n\r\n'],
    ['a bare line feed', 400, 'GET / HTTP/1.1\nHost: payments\n\n'],
    ['a NUL in a header', 400, 'GET / HTTP/1.1\r\nHost: payments\r\nA: b\0\r\n\r\n'],
    ['a NUL in a target', 400, 'GET /a\0b HTTP/1.1\r\nHost: payments\r\n\r\n'],
    ['a NUL in a name', 400, 'GET / HTTP/1.1\r\nHost: payments\r\nA\0: b\r\n\r\n'],
    ['a bare carriage return in a value', 400, 'GET / HTTP/1.1\r\nHost: payments\r\nA: b\rB: c\r\n\r\n'],
    ['a bare line feed between fields', 400, 'GET / HTTP/1.1\r\nHost: payments\nA: b\r\n\r\n'],
    ['a bare line feed at the end of the head', 400, 'GET / HTTP/1.1\r\nHost: payments\r\n\nGET / HTTP/1.1\r\n\r\n'],
    ['a line that is no field', 400, 'GET / HTTP/1.1\r\nHost: payments\r\nnothing\r\n\r\n'],
    ['a field without a name', 400, 'GET / HTTP/1.1\r\nHost: payments\r\n: b\r\n\r\n'],
    ['a folded first field', 400, 'GET / HTTP/1.1\r\n Host: payments\r\n\r\n'],
    ['two equal Content-Lengths', 400, requestBytes(`${post}\nContent-Length: 3\nContent-Length: 3`, 'abc')],
    ['a Content-Length with a sign', 400, requestBytes(`${post}\nContent-Length: +3`, 'abc')],
    ['a Content-Length in hexadecimal', 400, requestBytes(`${post}\nContent-Length: 0x3`, 'abc')],
    ['an empty Content-Length', 400, requestBytes(`${post}\nContent-Length:`, 'abc')],
    [
      'a Content-Length that no number holds',
      400,
      requestBytes(`${post}\nContent-Length: 18446744073709551619`, 'abc'),
    ],
    ['chunked twice', 400, requestBytes(`${post}\nTransfer-Encoding: chunked, chunked`, '0\r\n\r\n')],
    [
      'chunked in two fields',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked\nTransfer-Encoding: chunked`, '0\r\n\r\n'),
    ],
    ['an empty coding', 400, requestBytes(`${post}\nTransfer-Encoding:`, '0\r\n\r\n')],
    ['chunked that is not the last', 501, requestBytes(`${post}\nTransfer-Encoding: chunked, gzip`, '0\r\n\r\n')],
    ['a coding that only looks like chunked', 501, requestBytes(`${post}\nTransfer-Encoding: xchunked`, '0\r\n\r\n')],
    ['chunked in quotes', 501, requestBytes(`${post}\nTransfer-Encoding: "chunked"`, '0\r\n\r\n')],
    ['a space in the target', 400, requestBytes('GET /a b HTTP/1.1\nHost: payments')],
    ['HTTP/0.9', 400, 'GET /\r\n\r\n'],
    ['no version', 400, 'GET /:HTTP/1.1\r\nHost: payments\r\n\r\n'],
    ['HTTP/1.2', 400, requestBytes('GET / HTTP/1.2\nHost: payments')],
    ['a method with a colon', 400, requestBytes('GE:T / HTTP/1.1\nHost: payments')],
    ['one field that is too large', 431, requestBytes(`GET / HTTP/1.1\nHost: payments\nA${'x'.repeat(100_000)}: b`)],
    ['more fields than fit', 431, requestBytes(`GET / HTTP/1.1\nHost: payments${'\nA: b'.repeat(40_000)}`)],
    [
      'trailers that are too large',
      431,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, `0\r\nA: ${'x'.repeat(100_000)}\r\n\r\n`),
    ],
    ['a malformed chunk size', 400, requestBytes(`${post}\nTransfer-Encoding: chunked`, 'zz\r\n')],
    [
      'a chunk size in another form',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, '0x3\r\nabc\r\n0\r\n\r\n'),
    ],
    ['a negative chunk size', 400, requestBytes(`${post}\nTransfer-Encoding: chunked`, '-3\r\nabc\r\n0\r\n\r\n')],
    [
      'a chunk size that no number holds',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, '10000000000000003\r\nabc'),
    ],
    ['a chunk longer than its size', 400, requestBytes(`${post}\nTransfer-Encoding: chunked`, '2\r\nabc\r\n0\r\n\r\n')],
    [
      'a chunk that ends with a bare line feed',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, '3\r\nabc\n0\r\n\r\n'),
    ],
    [
      'a chunk size that ends with a bare line feed',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, '3\nabc\r\n0\r\n\r\n'),
    ],
    [
      'a bare line feed in a chunk extension',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, '3;a\nabc\r\n0\r\n\r\n'),
    ],
    ['a space after a chunk size', 400, requestBytes(`${post}\nTransfer-Encoding: chunked`, '3 \r\nabc\r\n0\r\n\r\n')],
    [
      'chunk extensions without end',
      400,
      requestBytes(`${post}\nTransfer-Encoding: chunked`, `3;${'x'.repeat(100_000)}\r\nabc\r\n0\r\n\r\n`),
    ],
    [
      'chunks from HTTP/1.0',
      400,
      requestBytes('POST / HTTP/1.0\nHost: payments\nTransfer-Encoding: chunked', '0\r\n\r\n'),
    ],
    ['a TLS handshake', 400, '\x16\x03\x01\x02\x00\x01\x00\r\n\r\n'],
    ['HTTP/2', 400, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['a fragment', 400, requestBytes('GET /a#b HTTP/1.1\nHost: payments')],
    ['an unknown coding', 501, requestBytes(`${post}\nTransfer-Encoding: gzip`)],
    ['an unknown coding before chunked', 501, requestBytes(`${post}\nTransfer-Encoding: gzip, chunked`, '0\r\n\r\n')],
    [
      'an unknown coding in a field of its own',
      501,
      requestBytes(`${post}\nTransfer-Encoding: gzip\nTransfer-Encoding: chunked`, '0\r\n\r\n'),
    ],
    ['a head that is too large', 431, requestBytes(`GET / HTTP/1.1\nHost: payments\nA: ${'x'.repeat(200_000)}`)],
    ['a target that is too large', 431, requestBytes(`GET /${'x'.repeat(200_000)} HTTP/1.1\nHost: payments`)],
  ])('%s: %i', async ([, status, bytes]) => {
    using connection = await connectRaw(room.port);
    connection.send(bytes);
    const response = await connection.readResponse();
    expect(problemOf(response)).toMatchObject({ status, code: 'bad-request' });
    expect(header(response, 'Connection')).toBe('close');
    expect((await connection.readToEnd()).toString()).toBe('');
  });

  test('an empty connection and one that breaks off are just closed', async () => {
    for (const bytes of ['', 'GET / HTT']) {
      using connection = await connectRaw(room.port);
      connection.send(bytes);
      connection.endSending();
      const rest = await connection.readToEnd();
      expect(rest.toString()).toSatisfy((text: string) => text === '' || text.startsWith('HTTP/1.1 400 '));
    }
  });
});

test('the answer of a request before a malformed one comes first, and is its own', async () => {
  using connection = await connectRaw(room.port);
  connection.send(requestBytes('GET /first HTTP/1.1\nHost: payments') + 'garbage\r\n\r\n');
  const action = await room.caller.action();
  room.caller.finish(action, 'answered', { status: 200, headers: ['Content-Length', '2'], body: Buffer.from('ok') });
  expect((await connection.readResponse()).body.toString()).toBe('ok');
  expect(problemOf(await connection.readResponse())).toMatchObject({ status: 400, code: 'bad-request' });
  await connection.readToEnd();
});

test('what comes behind a request that was refused with its connection is not carried out', async () => {
  using connection = await connectRaw(room.port);
  const before = room.caller.stored.length;
  connection.send(requestBytes('GET / HTTP/1.1\nA: b') + requestBytes('GET /behind HTTP/1.1\nHost: payments'));
  expect(problemOf(await connection.readResponse())).toMatchObject({ status: 400, code: 'bad-request' });
  expect((await connection.readToEnd()).toString()).toBe('');
  expect(room.caller.stored).toHaveLength(before);
});

describe('a body that is too large', () => {
  test('is refused by its declared length, before it is sent', async () => {
    const response = await send(room.port, `${post}\nContent-Length: 1001`);
    expect(problemOf(response)).toMatchObject({ status: 413, code: 'body-too-large' });
    expect(header(response, 'Connection')).toBe('close');
  });

  test('is refused before 100 Continue', async () => {
    const response = await send(room.port, `${post}\nContent-Length: 1001\nExpect: 100-continue`);
    expect(problemOf(response)).toMatchObject({ status: 413 });
  });

  test('is refused while it arrives, and the whole refusal can be read by who goes on sending', async () => {
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(`${post}\nTransfer-Encoding: chunked`));
    for (let part = 0; part < 40; part++) connection.send(`400\r\n${'x'.repeat(1024)}\r\n`);
    expect(problemOf(await connection.readResponse())).toMatchObject({ status: 413, code: 'body-too-large' });
    await connection.readToEnd();
  });
});

describe('nothing leads there', () => {
  test('no route and unmatched: deny', async () => {
    const response = await send(room.port, 'GET / HTTP/1.1\nHost: elsewhere');
    expect(problemOf(response)).toMatchObject({ status: 403, code: 'not-routed' });
    expect(header(response, 'Proxy-Status')).toBe('holdline; error=http_request_denied');
  });

  test('CONNECT', async () => {
    const response = await send(room.port, 'CONNECT elsewhere:443 HTTP/1.1\nHost: elsewhere:443');
    expect(problemOf(response)).toMatchObject({ status: 403, code: 'not-routed' });
  });

  test('a WebSocket', async () => {
    const upgrade = 'Connection: Upgrade\nUpgrade: websocket';
    const response = await send(room.port, `GET / HTTP/1.1\nHost: elsewhere\n${upgrade}`);
    expect(problemOf(response)).toMatchObject({ status: 403, code: 'not-routed' });
  });

  test('a route without a callee', async () => {
    await using other = await openRoom({ match: {} });
    const response = await send(other.port, 'GET / HTTP/1.1\nHost: pay.internal');
    expect(problemOf(response)).toMatchObject({
      status: 403,
      document: { detail: expect.stringContaining("route's service") },
    });
  });
});

describe('too much is held', () => {
  test('calls', async () => {
    await using full = await openRoom({}, { limits: { held: 1, heldBytes: 1000 } });
    using first = await connectRaw(full.port);
    first.send(requestBytes('GET /1 HTTP/1.1\nHost: payments'));
    await full.caller.action();
    const response = await send(full.port, 'GET /2 HTTP/1.1\nHost: payments');
    expect(problemOf(response)).toMatchObject({ status: 503, code: 'overloaded' });
    expect(header(response, 'Retry-After')).toBe('1');
    expect(full.caller.stored).toHaveLength(1);
    expect(full.outbound.held()).toBe(1);
  });

  test.for([
    ['declared', `${post}\nContent-Length: 600`, 'x'.repeat(600)],
    ['counted', `${post}\nTransfer-Encoding: chunked`, `258\r\n${'x'.repeat(600)}\r\n0\r\n\r\n`],
  ] as const)('bytes, %s', async ([, head, body]) => {
    await using full = await openRoom({}, { limits: { held: 10, heldBytes: 1000 } });
    using first = await connectRaw(full.port);
    first.send(requestBytes(`${post}\nContent-Length: 600`, 'x'.repeat(600)));
    const action = await full.caller.action();
    expect(problemOf(await send(full.port, head, body))).toMatchObject({ status: 503, code: 'overloaded' });
    full.caller.finish(action, 'answered', {});
    await first.readResponse();
    // What was freed is there for others.
    using second = await connectRaw(full.port);
    second.send(requestBytes(head, body));
    await full.caller.action(2);
  });
});

test('two different keys on one request are refused', async () => {
  const response = await send(room.port, 'GET / HTTP/1.1\nHost: payments\nIdempotency-Key: a\nIdempotency-Key: b');
  expect(problemOf(response)).toMatchObject({ status: 400, code: 'bad-request' });
});

test('a refusal of a small request leaves the connection open', async () => {
  using connection = await connectRaw(room.port);
  for (const path of ['/a', '/b']) {
    connection.send(requestBytes(`POST ${path} HTTP/1.1\nHost: elsewhere\nContent-Length: 5`, 'hello'));
    expect(problemOf(await connection.readResponse())).toMatchObject({ status: 403 });
  }
});

test('an answer of Holdline to HEAD has its headers only', async () => {
  const response = await exchangeRaw(room.port, requestBytes('HEAD / HTTP/1.1\nHost: elsewhere'), { method: 'HEAD' });
  expect(response.status).toBe(403);
  expect(header(response, 'Holdline-Error')).toBe('not-routed');
  expect(response.body.length).toBe(0);
});
