import type { Socket } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectRaw, exchangeRaw, type RawConnection } from '../../support/raw-http.ts';
import { nameOf } from './message.ts';
import { startRig, ways, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => (rig = await startRig()));
afterAll(async () => await rig[Symbol.asyncDispose]());

const head = (line: string, ...fields: string[]) => `${[line, 'Host: payments', ...fields].join('\r\n')}\r\n\r\n`;
const get = (path: string) => head(`GET ${path} HTTP/1.1`);
const final = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

/** Answers each request with its own target. */
function echo(): void {
  rig.callee.reacts((socket, { line }) => {
    const [, target = ''] = line.split(' ');
    socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`);
  });
}

/** Sends byte by byte: the system has taken each one before the next is written. */
async function dribble(write: (byte: string, done: () => void) => void, bytes: string): Promise<void> {
  for (const byte of bytes) await new Promise<void>((resolve) => write(byte, () => setImmediate(resolve)));
}

function answerSlowly(socket: Socket, answer: string): void {
  const rest = answer.slice(1);
  if (answer !== '') socket.write(answer.slice(0, 1), 'latin1', () => setImmediate(() => answerSlowly(socket, rest)));
}

async function bodyOf(connection: RawConnection): Promise<string> {
  return (await connection.readResponse()).body.toString();
}

describe.each(ways)('%s', (way) => {
  const connected = () => connectRaw(rig.port[way]);

  test('one connection carries one request after another', async () => {
    echo();
    using connection = await connected();
    for (const path of ['/1', '/2', '/3']) {
      connection.send(get(path));
      expect(await bodyOf(connection)).toBe(path);
    }
  });

  test('pipelined requests are answered in their order, also when their answers come in another one', async () => {
    const waiting: (() => void)[] = [];
    rig.callee.reacts((socket, { line }) => {
      const [, target = ''] = line.split(' ');
      waiting.push(() => socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${target.length}\r\n\r\n${target}`));
      if (waiting.length < 5) return;
      for (const answer of waiting.splice(0).toReversed()) answer();
    });
    using connection = await connected();
    const paths = ['/a', '/b', '/c', '/d', '/e'];
    connection.send(paths.map(get).join(''));
    for (const path of paths) expect(await bodyOf(connection)).toBe(path);
  });

  test('pipelined requests with bodies are each their own, whatever frames them', async () => {
    rig.callee.reacts((socket, { line, body }) => {
      const [method = ''] = line.split(' ');
      const answer = `${method} ${body}`;
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${answer.length}\r\n\r\n${answer}`);
    });
    using connection = await connected();
    const requests = [
      `${head('POST /1 HTTP/1.1', 'Content-Length: 3')}one`,
      `${head('PUT /2 HTTP/1.1', 'Transfer-Encoding: chunked')}3\r\ntwo\r\n0\r\nX-T: 1\r\n\r\n`,
      get('/3'),
      `${head('PROPFIND /4 HTTP/1.1', 'Content-Length: 4')}four`,
      head('DELETE /5 HTTP/1.1', 'Content-Length: 0'),
      `${head('PATCH /6 HTTP/1.1', 'Content-Length: 36')}GET /6 HTTP/1.1\r\nHost: payments\r\n\r\n\0`,
    ];
    connection.send(requests.join(''));
    const answers = [];
    for (const _ of requests) answers.push(await bodyOf(connection));
    expect(answers).toEqual([
      'POST one',
      'PUT two',
      'GET ',
      'PROPFIND four',
      'DELETE ',
      'PATCH GET /6 HTTP/1.1\r\nHost: payments\r\n\r\n\0',
    ]);
  });

  test('a caller that sends byte by byte, a callee that answers so', async () => {
    const answer = 'HTTP/1.1 201 Slow\r\nTransfer-Encoding: chunked\r\nX: 1\r\n\r\n3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n';
    rig.callee.reacts((socket) => answerSlowly(socket, answer));
    const before = rig.callee.requests.length;
    using connection = await connected();
    const bytes = `${head('POST /slow HTTP/1.1', 'Content-Length: 5')}a\0\r\nb`;
    await dribble((byte, done) => {
      connection.send(byte);
      done();
    }, bytes);
    const response = await connection.readResponse();
    expect(response).toMatchObject({ statusLine: 'HTTP/1.1 201 Slow', trailers: [['X-T', '1']] });
    expect(response.body.toString()).toBe('abc');
    expect((await rig.callee.received(before)).body).toBe('a\0\r\nb');
  });

  test('Expect: 100-continue', async () => {
    rig.callee.reacts(final, (socket, request) => {
      if (/\r\nExpect: 100-continue/i.test(request)) socket.write('HTTP/1.1 100 Continue\r\n\r\n');
    });
    const before = rig.callee.requests.length;
    using connection = await connected();
    connection.send(head('PUT /up HTTP/1.1', 'Content-Length: 3', 'Expect: 100-continue'));
    expect((await connection.readResponse()).statusLine).toBe('HTTP/1.1 100 Continue');
    connection.send('abc');
    expect(await bodyOf(connection)).toBe('ok');
    const request = await rig.callee.received(before);
    expect(request.body).toBe('abc');
    // Who stores the body has met the expectation; otherwise it is the callee's to meet.
    expect(request.fields.map(nameOf).includes('expect')).toBe(way === 'passthrough');
    connection.send(get('/next'));
    expect(await bodyOf(connection)).toBe('ok');
  });

  test('interim answers', async () => {
    const hints = 'HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\nlink: </b>\r\nX-Latin: \xe9\r\n\r\n';
    rig.callee.reacts(`HTTP/1.1 102 Processing\r\n\r\n${hints}${final}`);
    using connection = await connected();
    connection.send(get('/hints'));
    const first = await connection.readResponse();
    if (way === 'passthrough') {
      expect(first.bytes.toString('latin1')).toBe('HTTP/1.1 102 Processing\r\n\r\n');
      expect((await connection.readResponse()).bytes.toString('latin1')).toBe(hints);
      expect(await bodyOf(connection)).toBe('ok');
    } else {
      // Documented: the answer of a stored call is one event.
      expect(first.body.toString()).toBe('ok');
    }
  });

  test('HTTP/1.0 does not get interim answers, and its connection ends with the answer', async () => {
    rig.callee.reacts(`HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n${final}`);
    using connection = await connected();
    connection.send('GET / HTTP/1.0\r\n\r\n');
    expect(await bodyOf(connection)).toBe('ok');
    expect((await connection.readToEnd()).length).toBe(0);
  });

  test('HTTP/1.0 gets a body without a length until the connection ends', async () => {
    rig.callee.reacts(
      'HTTP/1.1 200 OK\r\nTrailer: X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX: 1\r\n\r\n',
    );
    const response = await exchangeRaw(rig.port[way], 'GET / HTTP/1.0\r\nHost: payments\r\n\r\n');
    expect(response.body.toString()).toBe('ok');
    expect(response.headers.map(([name]) => name.toLowerCase())).not.toContain('transfer-encoding');
  });

  test('HTTP/1.0 that asks for it keeps its connection', async () => {
    echo();
    using connection = await connected();
    for (const path of ['/1', '/2']) {
      connection.send(`GET ${path} HTTP/1.0\r\nHost: payments\r\nConnection: keep-alive\r\n\r\n`);
      const response = await connection.readResponse();
      expect(response.body.toString()).toBe(path);
      expect(response.headers).toContainEqual(['Connection', 'keep-alive']);
    }
  });

  test('Connection: close ends the connection after the answer', async () => {
    echo();
    using connection = await connected();
    connection.send(head('GET /last HTTP/1.1', 'Connection: close'));
    expect(await bodyOf(connection)).toBe('/last');
    expect((await connection.readToEnd()).length).toBe(0);
  });
});
