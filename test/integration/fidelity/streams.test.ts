import { afterAll, beforeAll, expect, test } from 'vitest';
import { createLatch } from '../../support/latch.ts';
import { connectRaw, exchangeRaw } from '../../support/raw-http.ts';
import { startRig, ways, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(
  async () => (rig = await startRig({ retry: { attempts: 2, backoff: '10ms..20ms', on: [] } }, { timeout: '300ms' })),
);
afterAll(async () => await rig[Symbol.asyncDispose]());

const durable = ways.filter((way) => way !== 'passthrough');
const events = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n';
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`;

test('a stream of events flows through passthrough: the first one is there while the callee still holds the stream', async () => {
  const go = createLatch();
  rig.callee.reacts((socket) => {
    socket.write(events + chunk('data: 1\n\n'));
    // The second one is only written once the caller has had the first.
    go.wait('the first event to be read').then(
      () => socket.write(`${chunk('data: 2\n\n')}0\r\n\r\n`),
      () => socket.destroy(),
    );
  });
  using connection = await connectRaw(rig.port.passthrough);
  connection.send('GET /events HTTP/1.1\r\nHost: payments\r\nAccept: text/event-stream\r\n\r\n');
  await connection.readUntil(chunk('data: 1\n\n'));
  go.open();
  const response = await connection.readResponse();
  expect(response.body.toString()).toBe('data: 1\n\ndata: 2\n\n');
});

test('a request streams, too: the callee has its beginning before its end is sent', async () => {
  const begun = createLatch();
  rig.callee.reacts('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok', () => begun.open());
  using connection = await connectRaw(rig.port.passthrough);
  connection.send(`POST /up HTTP/1.1\r\nHost: payments\r\nTransfer-Encoding: chunked\r\n\r\n${chunk('abc')}`);
  await begun.wait('the beginning of the request');
  connection.send(`${chunk('def')}0\r\n\r\n`);
  expect((await connection.readResponse()).status).toBe(200);
  expect(rig.callee.requests.at(-1)?.body).toBe('abcdef');
});

test('a WebSocket flows through passthrough both ways', async () => {
  const accepted = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n';
  rig.callee.reacts((socket) => {
    // From here on it is no HTTP.
    socket.removeAllListeners('data').on('data', (data: string) => socket.write(data.toUpperCase(), 'latin1'));
    socket.write(`${accepted}hello`);
  });
  using connection = await connectRaw(rig.port.passthrough);
  connection.send(
    'GET /chat HTTP/1.1\r\nHost: payments\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a\r\n\r\n',
  );
  expect((await connection.readResponse()).status).toBe(101);
  await connection.readUntil('hello');
  connection.send('abc');
  await connection.readUntil('ABC');
  connection.send('def');
  await connection.readUntil('DEF');
});

test.for(durable)('an answer that never ends is a clear error, %s', async (way) => {
  rig.callee.reacts((socket) => socket.write(events + chunk('data: 1\n\n')));
  const problemOf = async (method: string) => {
    const answer = await exchangeRaw(rig.port[way], `${method} /events HTTP/1.1\r\nHost: payments\r\n\r\n`);
    return JSON.parse(answer.body.toString()) as Record<string, unknown>;
  };
  const why =
    'it began with 200 and did not end; a stream of events has no end to wait for and needs a passthrough route';
  const detail = expect.stringContaining(why) as string;
  expect(await problemOf('GET')).toMatchObject({ status: 502, type: 'urn:holdline:problem:exhausted', detail });
  expect(await problemOf('POST')).toMatchObject({ status: 502, type: 'urn:holdline:problem:outcome-unknown', detail });
});
