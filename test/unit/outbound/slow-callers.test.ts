import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { MemoryCaller } from './memory-caller.ts';
import { openRoom, problemOf, requestBytes, send } from './room.ts';

const MB = 1024 * 1024;
/** Far more than the system keeps for a connection. */
const large = Buffer.alloc(64 * MB, 'x');
const get = 'GET /large HTTP/1.1\nHost: payments';
const post = 'POST /charges HTTP/1.1\nHost: payments';

/** A caller that asks and then reads nothing. */
async function askWithoutReading(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  socket.pause();
  socket.write(requestBytes(get));
  return socket;
}

test('an answer that its caller does not read counts as held until it is read', async () => {
  await using room = await openRoom({}, { limits: { held: 10, heldBytes: 8 * MB } });
  const socket = await askWithoutReading(room.port);
  room.caller.finish(await room.caller.action(), 'answered', { body: large });
  await eventually(
    async () => {
      const refused = problemOf(await send(room.port, `${post}\nContent-Length: 1`, 'x'));
      expect(refused).toMatchObject({ status: 503, code: 'overloaded' });
      expect(refused.document['detail']).toContain('limits.heldBytes');
    },
    { what: 'a new call to be refused' },
  );
  let read = 0;
  socket.on('data', (data: Buffer) => (read += data.length)).resume();
  await eventually(() => expect(read).toBeGreaterThan(large.length), { what: 'the answer to be read' });
  const before = room.caller.stored.length;
  using next = await connectRaw(room.port);
  next.send(requestBytes(`${post}\nContent-Length: 1`, 'x'));
  await room.caller.action(before + 1);
  socket.destroy();
});

test('a caller that stops reading is given up, and what it kept is free', async () => {
  await using room = await openRoom({}, { limits: { held: 10, heldBytes: 8 * MB } }, new MemoryCaller(), {
    stallLimit: 200,
  });
  const socket = await askWithoutReading(room.port);
  const closed = once(socket, 'close');
  socket.on('error', () => undefined);
  room.caller.finish(await room.caller.action(), 'answered', { body: large });
  await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the caller to be given up' });
  using next = await connectRaw(room.port);
  next.send(requestBytes(`${post}\nContent-Length: 1`, 'x'));
  await room.caller.action(2);
  // What the system had taken already can still be read, and then the connection is at its end.
  socket.resume();
  await closed;
  expect(socket.bytesRead).toBeLessThan(large.length);
});

test('a caller whose head never ends is refused with 408, however steadily it sends', async () => {
  await using room = await openRoom({}, {}, new MemoryCaller(), { headLimit: 200 });
  using connection = await connectRaw(room.port);
  connection.send(`${get.replaceAll('\n', '\r\n')}\r\nA: `);
  const dribbling = setInterval(() => connection.send('b'), 10);
  const refusal = await connection.readResponse().finally(() => clearInterval(dribbling));
  expect(problemOf(refusal)).toMatchObject({ status: 408, code: 'bad-request' });
  await connection.readToEnd();
});

test('a caller that stops in the middle of its body is refused with 408', async () => {
  await using room = await openRoom({}, {}, new MemoryCaller(), { stallLimit: 200 });
  using connection = await connectRaw(room.port);
  connection.send(requestBytes(`${post}\nContent-Length: 10`, 'half'));
  expect(problemOf(await connection.readResponse())).toMatchObject({ status: 408, code: 'bad-request' });
  expect(room.caller.stored).toEqual([]);
  await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'what it kept to be free' });
});

test('after a slow read the connection may wait for its next answer as long as any other', async () => {
  const stallLimit = 200;
  await using room = await openRoom({}, {}, new MemoryCaller(), { stallLimit });
  const socket = await askWithoutReading(room.port);
  // Two requests at once: the second answer is waited for on a connection whose first one was not read yet.
  socket.write(requestBytes(`GET /second HTTP/1.1\nHost: payments`));
  room.caller.finish(await room.caller.action(), 'answered', { body: large });
  const second = await room.caller.action(2);
  let read = 0;
  let last = '';
  socket.on('data', (data: Buffer) => {
    read += data.length;
    last = data.subarray(-100).toString();
  });
  socket.resume();
  await eventually(() => expect(read).toBeGreaterThan(large.length), { what: 'the first answer to be read' });
  await new Promise((resolve) => setTimeout(resolve, 3 * stallLimit));
  room.caller.finish(second, 'answered', { body: Buffer.from('the second') });
  await eventually(() => expect(last).toContain('the second'), { what: 'the second answer' });
  socket.destroy();
});
