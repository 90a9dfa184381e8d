import { afterEach, expect, test } from 'vitest';
import { BodyLost, BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { primed } from '../../../sidecar/http/body.ts';
import { signatureFields } from '../../../sidecar/http/webhook-signature.ts';
import { Connections } from '../../../sidecar/inbound/connections.ts';
import { Exchange, type ExchangeLimits } from '../../../sidecar/inbound/exchange.ts';
import { targetOf } from '../../../sidecar/inbound/target.ts';
import type { ActionEvent, Answer } from '../../../sidecar/model/call.ts';
import type { Observation } from '../../../sidecar/policy/evidence.ts';
import { eventually } from '../../support/eventually.ts';
import { MemoryBodies } from '../memory-bodies.ts';
import { sampleAction } from '../policy/sample-action.ts';
import { answering, RawService } from './raw-service.ts';

const open: Connections[] = [];

afterEach(() => {
  for (const connections of open.splice(0)) connections.destroy();
});

/** One connection pool towards a service, and attempts on it. */
function towards(url: string) {
  const target = targetOf({ url });
  const connections = new Connections(target, 5_000);
  open.push(connections);
  const bodies = new MemoryBodies();
  const begin = async (action: ActionEvent, limits: Partial<ExchangeLimits> = {}): Promise<Exchange> => {
    const connection = connections.rested() ?? (await connections.establish());
    const body = action.bodyRef === undefined ? undefined : await primed(bodies.read(action.bodyRef));
    const means = { target, connections, connection, bodies, body };
    return new Exchange(action, 3, means, { timeout: 20_000, maxBody: 1_000, maxInlineBody: 1_000, ...limits });
  };
  const send = async (...args: Parameters<typeof begin>): Promise<Observation> => (await begin(...args)).observation;
  return { begin, send, bodies };
}

function answerOf(observation: Observation): Answer {
  if (observation.kind !== 'answer') throw new Error(`no answer but ${JSON.stringify(observation)}`);
  return observation.answer;
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const added = (action: ActionEvent, key = action.id) =>
  `Idempotency-Key: ${key}\r\nHoldline-Call-Id: ${action.id}\r\nHoldline-Attempt: 3\r\nHoldline-Caller: orders\r\n`;

test('request - head and body go out as they are stored, then come the fields of Holdline', async () => {
  await using service = await RawService.start(answering(ok));
  const body = Buffer.from('{"amount":"5 \u20ac"}');
  const headers = [
    'x-First',
    '1',
    'hOST',
    'payments:80',
    'Content-LENGTH',
    String(body.length),
    'X-Two',
    'a',
    'x-two',
    'caf\xe9',
    'X-Empty',
    '',
  ];
  const action = sampleAction({ method: 'POST', target: '/a/../b//%7e?q=%2F&&', headers, body, hasBody: true });
  await towards(service.url).send(action);
  const sent = await service.got('}');
  expect(sent).toBe(
    `POST /a/../b//%7e?q=%2F&& HTTP/1.1\r\nx-First: 1\r\nhOST: payments:80\r\nContent-LENGTH: ${body.length}\r\n` +
      `X-Two: a\r\nx-two: caf\xe9\r\nX-Empty: \r\n${added(action)}Connection: keep-alive\r\n\r\n${body.toString('latin1')}`,
  );
});

test('request - without a body there is no framing, whatever the method', async () => {
  await using service = await RawService.start(answering(ok));
  const { send } = towards(service.url);
  const headers = ['Host', 'payments', 'x-A', '1', 'B', '2', 'X-a', '3'];
  for (const method of ['GET', 'DELETE', 'OPTIONS', 'POST', 'PUT', 'PATCH', 'BREW', 'get']) {
    await send(sampleAction({ method, target: `/${method}`, headers }));
    const sent = await service.got(`${method} /${method} HTTP/1.1\r\n`);
    expect(sent).toMatch(/Host: payments\r\nx-A: 1\r\nB: 2\r\nX-a: 3\r\n/);
    expect(sent).not.toMatch(/content-length|transfer-encoding/i);
  }
});

test('request - a body that was sent in chunks gets a length, an empty one too', async () => {
  await using service = await RawService.start(answering(ok));
  const { send } = towards(service.url);
  await send(sampleAction({ target: '/full', body: Buffer.from('abc'), hasBody: true }));
  await send(sampleAction({ target: '/empty', hasBody: true }));
  await send(sampleAction({ method: 'GET', target: '/get', body: Buffer.from('xyz'), hasBody: true }));
  expect(await service.got('xyz')).toMatch(/GET \/get [^]*Content-Length: 3\r\n[^]*\r\n\r\nxyz$/);
  expect(service.received.join('')).toMatch(/POST \/full [^]*Content-Length: 3\r\n[^]*\r\n\r\nabc/);
  expect(service.received.join('')).toMatch(/POST \/empty [^]*Content-Length: 0\r\n/);
});

test('request - framing that was stored by hand does not go out', async () => {
  await using service = await RawService.start(answering(ok));
  const { send } = towards(service.url);
  const fields = ['Transfer-Encoding', 'chunked', 'Content-Length', '0', 'content-length', '5', 'Content-Length', '5'];
  for (const body of ['', 'abcde']) {
    await send(sampleAction({ headers: ['Host', 'a', ...fields], body: Buffer.from(body), hasBody: body !== '' }));
  }
  expect(service.received.join('')).not.toMatch(/transfer-encoding/i);
  expect(service.received.join('').match(/content-length: .*/gi)).toEqual(['content-length: 5']);
});

test('request - trailers go in chunked coding', async () => {
  await using service = await RawService.start(answering(ok));
  const headers = ['Host', 'payments', 'Trailer', 'X-Sum', 'Content-Length', '3'];
  const action = sampleAction({
    headers,
    body: Buffer.from('abc'),
    hasBody: true,
    trailers: ['X-Sum', '1', 'x-sum', '2'],
  });
  const begun = await towards(service.url).begin(action);
  const sent = await service.got('x-sum: 2\r\n\r\n');
  expect(sent).not.toMatch(/content-length/i);
  expect(sent).toMatch(
    /Trailer: X-Sum\r\nTransfer-Encoding: chunked\r\n[^]*\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-sum: 2\r\n\r\n$/,
  );
  expect((await begun.observation).kind).toBe('answer');
});

test('request - OPTIONS * asks for the server, and a path in the url comes before every other target', async () => {
  await using service = await RawService.start(answering(ok));
  const { send } = towards(`${service.url}/v1/`);
  await send(sampleAction({ method: 'OPTIONS', target: '*' }));
  await send(sampleAction({ method: 'GET', target: '/charges?a=1' }));
  expect(service.received.join('')).toMatch(/^OPTIONS \* HTTP\/1\.1\r\n[^]*GET \/v1\/charges\?a=1 HTTP\/1\.1\r\n/);
});

test('request - a signed attempt carries its own signature and nobody else’s', async () => {
  await using service = await RawService.start(answering(ok));
  const target = targetOf({ url: service.url });
  const connections = new Connections(target, 5_000);
  open.push(connections);
  const headers = ['Webhook-Id', 'forged', 'webhook-signature', 'v1,forged', 'WEBHOOK-TIMESTAMP', '1', 'X-A', '1'];
  const action = sampleAction({ headers, body: Buffer.from('{"a":1}'), hasBody: true });
  const connection = await connections.establish();
  const secrets = ['whsec_bmV3', 'old'];
  const to = { target, connections, connection, bodies: new MemoryBodies(), secrets };
  await new Exchange(action, 1, to, { timeout: 20_000, maxBody: 1_000, maxInlineBody: 1_000 }).observation;
  const sent = service.received.join('');
  expect(sent).not.toMatch(/forged/);
  const [, timestamp] = /\r\nwebhook-timestamp: ([0-9]+)\r\n/.exec(sent) ?? [];
  expect(Math.abs(Number(timestamp) * 1000 - Date.now())).toBeLessThan(600_000);
  const expected = signatureFields(secrets, action.id, Number(timestamp) * 1000, action.body);
  expect(sent).toContain(`webhook-id: ${action.id}\r\n`);
  expect(sent).toContain(`webhook-signature: ${expected[5]}\r\n`);
});

test('request - the key and the trace of the caller', async () => {
  await using service = await RawService.start(answering(ok));
  const { send } = towards(service.url);
  const own = sampleAction({
    headers: ['idempotency-key', '"k1"', 'TraceParent', 'former', 'tracestate', 'a=1'],
    idempotencyKey: 'k1',
  });
  await send({ ...own, target: '/own', trace: { traceparent: 'new' } });
  expect(await service.got('/own')).toContain(
    `Host: 127.0.0.1:${service.port}\r\nidempotency-key: "k1"\r\nHoldline-Call-Id: ${own.id}\r\nHoldline-Attempt: 3\r\n` +
      'Holdline-Caller: orders\r\ntraceparent: new\r\n',
  );
  expect(service.received.join('')).not.toMatch(/former|tracestate/);
  await send({ ...own, target: '/untraced' });
  expect(await service.got('/untraced')).toContain('TraceParent: former\r\ntracestate: a=1\r\n');
  await send(sampleAction({ target: '/key', idempotencyKey: 'k2' }));
  expect(await service.got('/key')).toContain('Idempotency-Key: k2\r\n');
  await send({ ...sampleAction({ id: own.id, headers: ['Idempotency-Key', ''] }), target: '/none' });
  expect(await service.got('/none')).toContain(`\r\nIdempotency-Key: ${own.id}\r\n`);
});

test('answer - everything end to end, byte for byte', async () => {
  const head =
    'HTTP/1.1 299 Tr\xe8s bien\r\nx-B: 1\r\nX-b: 2\r\nset-cookie: a\r\nConnection: x-hop, keep-alive\r\nX-Hop: 1\r\n' +
    'Keep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\nHoldline-Error: forged\r\nSET-Cookie: \xfc\r\n\r\n';
  await using service = await RawService.start(
    answering([
      head.slice(0, 16),
      head.slice(16),
      '3\r\n\x00\xff\x80\r\n',
      '1\r\nz\r\n0\r\nX-T: 1\r\nx-t: \xe9\r\n\r\n',
    ]),
  );
  const answer = answerOf(await towards(service.url).send(sampleAction()));
  expect(answer).toMatchObject({
    status: 299,
    reason: 'Tr\xe8s bien',
    headers: ['x-B', '1', 'X-b', '2', 'set-cookie', 'a', 'Trailer', 'X-T', 'SET-Cookie', '\xfc'],
    trailers: ['X-T', '1', 'x-t', '\xe9'],
  });
  expect(Buffer.from(answer.body).toString('latin1')).toBe('\x00\xff\x80z');
});

test('answer - interim answers are no answers, asked for or not', async () => {
  await using service = await RawService.start(
    answering(['HTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n', ok]),
  );
  const answer = answerOf(await towards(service.url).send(sampleAction({ hasBody: true, body: Buffer.from('abc') })));
  expect(answer).toMatchObject({ status: 200, headers: ['Content-Length', '2'] });
});

test.each([
  { what: 'HEAD', method: 'HEAD', raw: 'HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n', status: 200, body: '' },
  { what: '204', method: 'GET', raw: 'HTTP/1.1 204 No Content\r\n\r\n', status: 204, body: '' },
  { what: '304', method: 'GET', raw: 'HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n', status: 304, body: '' },
  { what: 'no reason', method: 'GET', raw: 'HTTP/1.1 200\r\nContent-Length: 1\r\n\r\nx', status: 200, body: 'x' },
])('answer - $what', async ({ method, raw, status, body }) => {
  await using service = await RawService.start(answering(raw));
  const answer = answerOf(await towards(service.url).send(sampleAction({ method })));
  expect(answer.status).toBe(status);
  expect(Buffer.from(answer.body).toString()).toBe(body);
});

test('answer - one that ends with its connection is whole', async () => {
  await using service = await RawService.start((socket) => {
    socket.once('data', () => socket.end('HTTP/1.0 200 OK\r\nX: 1\r\n\r\nall of it'));
  });
  const answer = answerOf(await towards(service.url).send(sampleAction()));
  expect(Buffer.from(answer.body).toString()).toBe('all of it');
});

test('answer - many and long fields are taken', async () => {
  const fields = Array.from({ length: 3_000 }, (_, index) => `X-${index}: ${'v'.repeat(40)}\r\n`).join('');
  await using service = await RawService.start(answering(`HTTP/1.1 200 OK\r\n${fields}Content-Length: 0\r\n\r\n`));
  const answer = answerOf(await towards(service.url).send(sampleAction()));
  expect(answer.headers).toHaveLength(2 * 3_001);
});

test('answer - a body at the limit is taken, one byte more is too large', async () => {
  const body = (size: number) => `HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n${'x'.repeat(size)}`;
  await using service = await RawService.start(answering(body(1_000), body(1_001), ok));
  const { send } = towards(service.url);
  expect(answerOf(await send(sampleAction())).body).toHaveLength(1_000);
  expect(await send(sampleAction())).toEqual({
    kind: 'answer-too-large',
    status: 200,
    detail: "the answer's body is over 1000 bytes",
  });
  // What is left of it must not be read as the next answer.
  expect(answerOf(await send(sampleAction())).body).toHaveLength(2);
});

test.each<{ what: string; raw: string }>([
  { what: 'nothing', raw: '' },
  { what: 'half a head', raw: 'HTTP/1.1 200 OK\r\nX: ' },
  { what: 'half a body', raw: 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab' },
  { what: 'a chunk too few', raw: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n' },
  { what: 'no HTTP', raw: 'SSH-2.0-OpenSSH_9\r\n\r\n' },
  { what: 'only an interim answer', raw: 'HTTP/1.1 100 Continue\r\n\r\n' },
  {
    what: 'an upgrade nobody asked for',
    raw: 'HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n',
  },
])('no answer - the service sends $what and closes', async ({ raw }) => {
  await using service = await RawService.start((socket) => socket.once('data', () => socket.end(raw)));
  const observation = await towards(service.url).send(sampleAction());
  expect(observation.kind).toBe('no-answer');
  expect(observation).toHaveProperty('detail', expect.stringMatching(/./));
});

test('no answer - the service resets the connection', async () => {
  await using service = await RawService.start((socket) => socket.once('data', () => socket.resetAndDestroy()));
  expect(await towards(service.url).send(sampleAction())).toEqual({
    kind: 'no-answer',
    detail: 'the connection was reset (ECONNRESET)',
  });
});

const event = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n';
test.each([
  { what: 'at all', raw: '', detail: '' },
  {
    what: 'to its end',
    raw: 'HTTP/1.1 202 OK\r\nContent-Length: 5\r\n\r\nab',
    detail: ': it began with 202 and did not end',
  },
  {
    what: 'but with a stream',
    raw: event,
    detail:
      ': it began with 200 and did not end; a stream of events has no end to wait for and needs a passthrough route',
  },
])('no answer - the service does not answer $what in time', async ({ raw, detail }) => {
  await using service = await RawService.start((socket) => socket.once('data', () => socket.write(raw)));
  expect(await towards(service.url).send(sampleAction(), { timeout: 150 })).toEqual({
    kind: 'no-answer',
    detail: `no whole answer within 150 ms${detail}`,
  });
});

test('no answer - one that dribbles on is given up as well', async () => {
  await using service = await RawService.start((socket) => {
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n');
      const dribble = () => socket.writable && socket.write('x', () => setTimeout(dribble, 5));
      dribble();
    });
  });
  expect(await towards(service.url).send(sampleAction(), { timeout: 300, maxBody: 200_000 })).toEqual({
    kind: 'no-answer',
    detail: 'no whole answer within 300 ms: it began with 200 and did not end',
  });
});

test('no answer - an exchange that is broken off', async () => {
  await using service = await RawService.start(() => {});
  const exchange = await towards(service.url).begin(sampleAction());
  await service.got('POST');
  exchange.abort('the sidecar stopped');
  expect(await exchange.observation).toEqual({ kind: 'no-answer', detail: 'the sidecar stopped' });
});

test('request - one that cannot be written throws, and nothing is sent', async () => {
  await using service = await RawService.start(answering(ok));
  const { begin, send } = towards(service.url);
  await expect(begin(sampleAction({ headers: ['X', 'a\r\nInjected: 1'] }))).rejects.toThrow(TypeError);
  await expect(begin(sampleAction({ headers: ['X', 'a\r\nInjected: 1'], hasBody: true }))).rejects.toThrow(TypeError);
  for (const injected of ['a\r\nInjected: 1', 'a\nInjected: 1', 'a\0', 'a\u0120Injected']) {
    await expect(begin(sampleAction({ headers: [injected, 'v'] }))).rejects.toThrow(TypeError);
    for (const hasBody of [false, true]) {
      await expect(begin(sampleAction({ method: `POST ${injected}`, hasBody }))).rejects.toThrow(TypeError);
      await expect(begin(sampleAction({ target: `/${injected}`, hasBody }))).rejects.toThrow(TypeError);
      await expect(begin(sampleAction({ caller: injected, hasBody }))).rejects.toThrow(TypeError);
      await expect(begin(sampleAction({ idempotencyKey: injected, hasBody }))).rejects.toThrow(TypeError);
    }
    await expect(begin(sampleAction({ hasBody: true, trailers: ['X', injected] }))).rejects.toThrow(TypeError);
  }
  await send(sampleAction({ target: '/next' }));
  expect(service.received.join('')).not.toContain('Injected');
});

test.each([
  {
    framing: 'by its length',
    as: { headers: ['Host', 'payments', 'Content-Length', '13'] },
    sent: /Content-Length: 13\r\n(?:[^\r]+\r\n)*\r\none two three$/,
  },
  {
    framing: 'in chunks',
    as: { headers: ['Host', 'payments'] },
    sent: /\r\n\r\n4\r\none \r\n4\r\ntwo \r\n5\r\nthree\r\n0\r\n\r\n$/,
  },
  {
    framing: 'in chunks, with trailers',
    as: { headers: ['Host', 'payments'], trailers: ['X-After', '1'] },
    sent: /\r\n0\r\nX-After: 1\r\n\r\n$/,
  },
])('request - a body that is stored apart goes out as the caller framed it: $framing', async ({ as, sent }) => {
  await using service = await RawService.start((socket, received) => {
    let answered = false;
    socket.on('data', () => {
      if (answered || !sent.test(received())) return;
      answered = true;
      socket.write(ok);
    });
  });
  const { send, bodies } = towards(service.url);
  const bodyRef = bodies.put('one ', 'two ', 'three');
  expect(await send(sampleAction({ ...as, bodyRef, body: Buffer.alloc(0), hasBody: true }))).toMatchObject({
    kind: 'answer',
  });
  expect(service.received.join('')).toMatch(sent);
});

test('request - one whose stored body breaks off is broken off before its end, and has no answer', async () => {
  await using service = await RawService.start(answering(ok));
  const { send, bodies } = towards(service.url);
  const bodyRef = bodies.put('one ', 'two ', 'three');
  bodies.onRead = (_, part) => {
    if (part === 2) throw new BodyLost('chunk 2 is gone');
  };
  const action = sampleAction({ bodyRef, body: Buffer.alloc(0), hasBody: true, headers: ['Host', 'payments'] });
  expect(await send(action)).toEqual({
    kind: 'no-answer',
    detail: 'the stored request could not be read to its end: chunk 2 is gone',
  });
  expect(service.received.join('')).not.toContain('\r\n0\r\n');
});

test('answer - a large one is stored while it arrives, and waits for a slow broker beyond its time', async () => {
  await using service = await RawService.start(
    answering(
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlarge\r\n5\r\n, far\r\n0\r\nX-After: 1\r\n\r\n',
    ),
  );
  const { send, bodies } = towards(service.url);
  bodies.onPart = () => new Promise((resolve) => setTimeout(resolve, 400));
  const answer = answerOf(await send(sampleAction(), { maxInlineBody: 4, timeout: 300 }));
  expect(answer).toMatchObject({ status: 200, trailers: ['X-After', '1'], bodyRef: { size: 10 } });
  expect(Buffer.concat(bodies.stored.get(answer.bodyRef!.id)!).toString()).toBe('large, far');
  expect(bodies.places).toMatchObject([{ kind: 'answer', call: { id: sampleAction().id } }]);
});

test.each([
  ['of a status that is tried again', sampleAction({ retry: { ...sampleAction().retry, on: [200] } })],
  ['that a callback tells', sampleAction({ callback: { method: 'POST', target: '/done' } })],
])('answer - a large one %s outlasts the responses', async (_, action) => {
  await using service = await RawService.start(answering(ok));
  const { send, bodies } = towards(service.url);
  await send(action, { maxInlineBody: 1 });
  expect(bodies.places).toMatchObject([{ kind: 'lasting-answer' }]);
});

test.each([
  ['in the middle', 'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nlarge', { kind: 'no-answer' }],
  [
    'over the limit',
    'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlarge\r\n5\r\n, far\r\n',
    { kind: 'answer-too-large' },
  ],
  ['that says it will be', 'HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nlarge', { kind: 'answer-too-large' }],
])('answer - a large one that ends %s is not kept', async (_, bytes, observation) => {
  await using service = await RawService.start((socket) => socket.end(bytes));
  const { send, bodies } = towards(service.url);
  expect(
    await send(sampleAction(), { maxInlineBody: 4, maxBody: bytes.includes('chunked') ? 8 : 1_000 }),
  ).toMatchObject(observation);
  expect(bodies.stored.size).toBe(0);
  await eventually(() => expect(bodies.abandoned).toBe(bodies.places.length), { what: 'it to be given up' });
});

test('answer - a large one that the broker does not take is no answer', async () => {
  await using service = await RawService.start(answering(ok));
  const { send, bodies } = towards(service.url);
  bodies.refuse(new BrokerUnavailable('the broker is closed'));
  expect(await send(sampleAction(), { maxInlineBody: 1 })).toEqual({
    kind: 'no-answer',
    detail: 'the answer could not be stored: the broker is closed',
  });
});
