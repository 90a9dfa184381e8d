import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterEach, describe, expect, test } from 'vitest';
import { passedThrough } from '../../../sidecar/telemetry/channels.ts';
import { eventually } from '../../support/eventually.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { sampleRoute } from '../policy/sample-route.ts';
import { startRawCallee } from './raw-callee.ts';
import { header, openRoom, portOf, problemOf, requestBytes, sampleOutbound, send } from './room.ts';

afterEach(expectNoLeaks);

describe('requests', () => {
  test('arrive as they were sent, less what was for the connection', async () => {
    await using upstream = await startUpstream({ status: 200 });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    const head = `PUT //a/../b//;c=%2F%e4?q=%20&?q HTTP/1.1
      x-First: 1
      HOST: files:8080
      X-first: 2
      Cookie: a
      cookie: b
      Accept: b\xe4r
      Connection: x-hop, keep-alive
      x-hop: 1
      Keep-Alive: timeout=3
      TE: trailers
      Proxy-Authorization: Basic x
      Content-Length: 3`;
    await send(room.port, head, 'abc');
    const [request] = upstream.requests;
    expect(request).toMatchObject({ method: 'PUT', target: '//a/../b//;c=%2F%e4?q=%20&?q' });
    expect(request?.body.toString()).toBe('abc');
    const expected = ['x-First: 1', 'HOST: files:8080', 'X-first: 2', 'Cookie: a', 'cookie: b', 'Accept: b\xe4r'];
    const seen = request?.headers.map(([name, value]) => `${name}: ${value}`);
    expect(seen?.filter((line) => !/^connection:/i.test(line))).toEqual([...expected, 'Content-Length: 3']);
  });

  test.for<[target: string, seen: string]>([
    ['/?', '/?'],
    ['/a?', '/a?'],
    ['/.', '/.'],
    ['/a/%2e%2e/b', '/a/%2e%2e/b'],
    ["/a'b|c", "/a'b|c"],
    ['//host/path', '//host/path'],
    ['http://files', '/'],
    ['http://files//x', '//x'],
  ])('target %s', async ([target, seen]) => {
    await using upstream = await startUpstream();
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    await send(room.port, `GET ${target} HTTP/1.1\nHost: files`);
    expect(upstream.requests[0]?.target).toBe(seen);
  });

  test('OPTIONS *, a path in hosts, and the authority of an absolute target', async () => {
    await using upstream = await startUpstream();
    await using room = await openRoom({}, { hosts: { files: upstream.url, api: `${upstream.url}/v1` } });
    await send(room.port, 'OPTIONS * HTTP/1.1\nHost: files');
    await send(room.port, 'GET /x?y HTTP/1.1\nHost: API');
    await send(room.port, 'GET http://files:81/z HTTP/1.1\nHost: proxy');
    expect(upstream.requests.map(({ target }) => target)).toEqual(['*', '/v1/x?y', '/z']);
    expect(upstream.requests[2]?.header('host')).toBe('files:81');
  });

  test('an authority that hosts does not name goes where it says', async () => {
    await using upstream = await startUpstream({ body: 'direct' });
    await using room = await openRoom();
    const response = await send(room.port, `GET http://127.0.0.1:${upstream.port}/ HTTP/1.1\nHost: x`);
    expect(response.body.toString()).toBe('direct');
  });

  test.for<[head: string, body: string, seen: string, framing: string | undefined]>([
    ['POST / HTTP/1.1\nHost: files\nTransfer-Encoding: chunked', '3\r\nabc\r\n0\r\nX-Sum: 3\r\n\r\n', 'abc', 'chunked'],
    ['DELETE / HTTP/1.1\nHost: files\nTransfer-Encoding: chunked', '3\r\nabc\r\n0\r\n\r\n', 'abc', 'chunked'],
    ['DELETE / HTTP/1.1\nHost: files', '', '', undefined],
    ['GET / HTTP/1.1\nHost: files\nContent-Length: 3', 'abc', 'abc', undefined],
    ['POST / HTTP/1.1\nHost: files', '', '', undefined],
  ])('%s keeps its body', async ([head, body, seen, framing]) => {
    await using upstream = await startUpstream();
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    await send(room.port, head, body);
    const [request] = upstream.requests;
    expect(request?.body.toString()).toBe(seen);
    expect(request?.header('transfer-encoding')).toBe(framing);
    if (body.includes('X-Sum')) expect(request?.trailers).toEqual([['X-Sum', '3']]);
  });

  test('Expect: 100-continue is the callee’s to meet', async () => {
    await using upstream = await startUpstream({ body: 'done' });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('POST / HTTP/1.1\nHost: files\nContent-Length: 2\nExpect: 100-continue'));
    expect((await connection.readResponse()).status).toBe(100);
    connection.send('ab');
    expect((await connection.readResponse()).body.toString()).toBe('done');
  });

  test('an offer to change to h2c is not taken up', async () => {
    await using upstream = await startUpstream({ body: 'plain' });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    const offer = 'Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: x';
    const response = await send(room.port, `GET / HTTP/1.1\nHost: files\n${offer}`);
    expect(response.body.toString()).toBe('plain');
    expect(upstream.requests[0]?.headers.map(([name]) => name.toLowerCase())).not.toContain('upgrade');
  });

  test('a route says so, too', async () => {
    await using upstream = await startUpstream({ body: 'direct' });
    await using room = await openRoom(
      { mode: 'passthrough' },
      { hosts: { payments: upstream.url }, unmatched: 'deny' },
    );
    expect((await send(room.port, 'GET / HTTP/1.1\nHost: payments')).body.toString()).toBe('direct');
    expect(room.caller.prepared).toEqual([]);
  });
});

describe('answers', () => {
  test('come as they were sent', async () => {
    const answer =
      'HTTP/1.1 299 So \xe4\r\nx-A: 1\r\nX-a: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nContent-Length: 2\r\nVia: 1.1 x\r\n\r\nok';
    await using upstream = await startUpstream({ raw: answer });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    const response = await send(room.port, 'GET / HTTP/1.1\nHost: files');
    expect(response.statusLine).toBe('HTTP/1.1 299 So \xe4');
    expect(response.headers).toEqual([
      ['x-A', '1'],
      ['X-a', '2'],
      ['Content-Length', '2'],
      ['Via', '1.1 x'],
    ]);
    expect(response.body.toString()).toBe('ok');
  });

  test('stream: the first part is there before the last is sent', async () => {
    const more = createLatch();
    async function* parts() {
      yield 'first';
      await more.wait();
      yield 'last';
    }
    await using upstream = await startUpstream(() => ({ body: parts(), trailers: [['X-Sum', '9']] }));
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    const asking = get({ port: room.port, headers: { host: 'files' }, agent: false });
    const [response] = (await once(asking, 'response')) as [IncomingMessage];
    const [first] = (await once(response.setEncoding('utf8'), 'data')) as [string];
    expect(first).toBe('first');
    more.open();
    expect(await text(response)).toBe('last');
    expect(response.rawTrailers).toEqual(['X-Sum', '9']);
  });

  test('that end with the connection are chunked; to HEAD there is no body', async () => {
    await using upstream = await startUpstream({ raw: 'HTTP/1.1 200 OK\r\n\r\nuntil the end' });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    const response = await send(room.port, 'GET / HTTP/1.1\nHost: files');
    expect(response.body.toString()).toBe('until the end');
    upstream.always({ raw: 'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nTrailer: X\r\n\r\n' });
    const head = await send(room.port, 'HEAD / HTTP/1.1\nHost: files');
    expect(head.headers).toEqual([['Content-Length', '7']]);
  });

  test('that break off are not made whole', async () => {
    await using upstream = await startUpstream({
      raw: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel',
    });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    await expect(send(room.port, 'GET / HTTP/1.1\nHost: files')).rejects.toThrow('ended in the middle');
  });
});

describe('the callee', () => {
  test.for<[what: string, url: string, error: string]>([
    ['refuses', 'http://127.0.0.1:1', 'connection_refused'],
    ['is no name', 'http://files.invalid', 'dns_error'],
  ])('%s: 502', async ([, url, error]) => {
    await using room = await openRoom({}, { hosts: { files: url } });
    const response = await send(room.port, 'GET / HTTP/1.1\nHost: files');
    expect(problemOf(response)).toMatchObject({ status: 502, code: 'upstream-unreachable' });
    expect(header(response, 'Proxy-Status')).toBe(`holdline; error=${error}`);
  });

  test('resets, or answers what is no HTTP: 502, and the connection stays usable', async () => {
    await using upstream = await startUpstream('reset');
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    using connection = await connectRaw(room.port);
    for (const answer of ['reset', { raw: 'garbage\r\n\r\n' }] as const) {
      upstream.always(answer);
      connection.send(requestBytes('POST / HTTP/1.1\nHost: files\nContent-Length: 2', 'ab'));
      expect(problemOf(await connection.readResponse())).toMatchObject({ status: 502, code: 'upstream-unreachable' });
    }
  });

  test('closed a kept connection: a GET is made on a new one', async () => {
    await using upstream = await startUpstream({ body: 'ok' });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    for (let count = 0; count < 3; count++) {
      expect((await send(room.port, 'GET / HTTP/1.1\nHost: files')).body.toString()).toBe('ok');
      await upstream.down();
      await upstream.up();
    }
  });

  test('learns that the caller went away', async () => {
    const gone = createLatch();
    await using upstream = await startRawCallee((socket) => socket.on('close', () => gone.open()));
    await using room = await openRoom({}, { hosts: { files: `http://127.0.0.1:${upstream.port}` } });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('GET / HTTP/1.1\nHost: files'));
    await eventually(() => expect(upstream.sockets.size).toBe(1), { what: 'the request' });
    connection.reset();
    await gone.wait('the end of the request at the callee');
  });

  test('is let go when the caller’s body turns out to be malformed', async () => {
    const gone = createLatch();
    await using upstream = await startRawCallee((socket) => socket.on('close', () => gone.open()));
    await using room = await openRoom({}, { hosts: { files: `http://127.0.0.1:${upstream.port}` } });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('POST / HTTP/1.1\nHost: files\nTransfer-Encoding: chunked', '1\r\na\r\n'));
    await eventually(() => expect(upstream.sockets.size).toBe(1), { what: 'the request' });
    connection.send('zz\r\n');
    expect(problemOf(await connection.readResponse())).toMatchObject({ status: 400, code: 'bad-request' });
    await gone.wait('the end of the request at the callee');
  });

  test('answers before it has the whole body', async () => {
    await using upstream = await startRawCallee((socket) => {
      socket.once('data', () => socket.write('HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno'));
    });
    await using room = await openRoom({}, { hosts: { files: `http://127.0.0.1:${upstream.port}` } });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('POST / HTTP/1.1\nHost: files\nContent-Length: 1000000', 'x'));
    expect(await connection.readResponse()).toMatchObject({ status: 413 });
    await connection.readToEnd();
  });
});

describe('loops', () => {
  test('to the listener itself', async () => {
    await using room = await openRoom();
    const response = await send(room.port, `GET / HTTP/1.1\nHost: localhost:${room.port}`);
    expect(problemOf(response)).toMatchObject({ status: 502, code: 'upstream-unreachable' });
    expect(header(response, 'Proxy-Status')).toBe('holdline; error=proxy_loop_detected');
  });

  test('over another sidecar end, too; ordinary requests carry no mark', async () => {
    await using one = await openRoom();
    await using other = await openRoom({}, { hosts: { files: `http://127.0.0.1:${one.port}` } });
    await using upstream = await startUpstream();
    const hosts = { files: `http://127.0.0.1:${other.port}`, ok: upstream.url };
    await one.outbound.reconfigure(sampleOutbound({ hosts }));
    const response = await send(one.port, 'GET / HTTP/1.1\nHost: files');
    expect(response.status).toBe(502);
    await send(one.port, 'GET / HTTP/1.1\nHost: ok\nHoldline-Anything: x');
    expect(upstream.requests[0]?.headers.some(([name]) => /^holdline/i.test(name))).toBe(false);
  });
});

test('a port for one host: the route is that host’s, and Host stays as the caller wrote it', async () => {
  await using upstream = await startUpstream();
  const routes = [sampleRoute({ match: { host: 'payments', path: '/charges' } })];
  const ports = [{ listen: { host: '127.0.0.1', port: 0 }, host: 'payments' }];
  await using room = await openRoom({}, { ports, routes, hosts: { payments: upstream.url } });
  const port = portOf(room.outbound, 1);
  using connection = await connectRaw(port);
  connection.send(requestBytes(`GET /charges HTTP/1.1\nHost: 127.0.0.1:${port}`));
  const action = await room.caller.action();
  expect(action).toMatchObject({ service: 'payments', headers: ['Host', `127.0.0.1:${port}`] });
  await send(port, `GET /other HTTP/1.1\nHost: 127.0.0.1:${port}`);
  expect(upstream.requests[0]?.header('host')).toBe(`127.0.0.1:${port}`);
});

test.for([
  ['without a route', {}, {}],
  [
    'on a route that observes, with its name',
    { match: { host: 'files' }, mode: 'observe', name: 'reads' },
    { route: 'reads' },
  ],
  ['on any other route, without', { match: { host: 'files' }, mode: 'passthrough', name: 'reads' }, {}],
] as const)('what passes through is told on the channel: %s', async ([, route, more]) => {
  await using upstream = await startUpstream({ status: 204 });
  await using room = await openRoom(route, { hosts: { files: upstream.url } });
  const told: unknown[] = [];
  const listener = (message: unknown) => told.push(message);
  passedThrough.subscribe(listener);
  try {
    await send(room.port, 'GET /a?b HTTP/1.1\nHost: files');
    await eventually(() => expect(told).toHaveLength(1), { what: 'the message' });
    expect(told).toEqual([
      { host: 'files', method: 'GET', target: '/a?b', status: 204, ms: expect.any(Number), ...more },
    ]);
    expect(room.caller.stored).toEqual([]);
  } finally {
    passedThrough.unsubscribe(listener);
  }
});
