import { afterEach, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { connectRaw, type RawConnection } from '../../support/raw-http.ts';
import { openRoom, problemOf, requestBytes, type Room } from './room.ts';

const stack: Room[] = [];
afterEach(async () => {
  for (const room of stack.splice(0)) await room[Symbol.asyncDispose]();
});

async function connected(): Promise<{ room: Room; connection: RawConnection }> {
  const room = await openRoom();
  stack.push(room);
  return { room, connection: await connectRaw(room.port) };
}

const brew = (method = 'BREW') => requestBytes(`${method} /pot HTTP/1.1\nHost: payments`);
const brewing = requestBytes('BREW /pot HTTP/1.1\nHost: payments\nContent-Length: 3');

/** Answers the action after the first `count`, and says what it was. */
async function answered({ caller }: Room, connection: RawConnection, count = 1) {
  const action = await caller.action(count);
  caller.finish(action, 'answered', { status: 200, headers: ['Content-Length', '2'], body: Buffer.from('ok') });
  expect((await connection.readResponse()).body.toString()).toBe('ok');
  return { method: action.method, target: action.target, body: Buffer.from(action.body).toString() };
}

test('are taken as they are, as often as they come on one connection, among others', async () => {
  const { room, connection } = await connected();
  using _ = connection;
  const methods = ['BREW', 'GET', 'brew', 'GETX', 'POST', 'get', 'FLUSH', 'X', 'HEADER'];
  for (const [index, method] of methods.entries()) {
    connection.send(brew(method));
    expect(await answered(room, connection, index + 1)).toMatchObject({ method, target: '/pot' });
  }
});

test('with a body that comes later, in parts', async () => {
  const { room, connection } = await connected();
  using _ = connection;
  connection.send(`${brewing}a`);
  connection.send('b');
  connection.send('c');
  expect(await answered(room, connection)).toEqual({ method: 'BREW', target: '/pot', body: 'abc' });
});

test('from who waits for 100 Continue', async () => {
  const { room, connection } = await connected();
  using _ = connection;
  connection.send(requestBytes('BREW /pot HTTP/1.1\nHost: payments\nContent-Length: 3\nExpect: 100-continue'));
  expect((await connection.readResponse()).status).toBe(100);
  connection.send('abc');
  expect(await answered(room, connection)).toMatchObject({ method: 'BREW', body: 'abc' });
});

test.for(['reset', 'endSending'] as const)('a caller that goes away has gone away: %s', async (leave) => {
  const { room, connection } = await connected();
  using _ = connection;
  connection.send(brew());
  await room.caller.action();
  expect(room.outbound.held()).toBe(1);
  connection[leave]();
  await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the hold to end' });
});

test.for<[what: string, bytes: string]>([
  ['behind a request that is not answered', `${requestBytes('GET / HTTP/1.1\nHost: payments')}${brew()}`],
  [
    'behind a body that could be a part of it',
    `${requestBytes('POST / HTTP/1.1\nHost: payments\nContent-Length: 1')}a${brew()}`,
  ],
])('%s: 501, after the answer', async ([, bytes]) => {
  const { room, connection } = await connected();
  using _ = connection;
  connection.send(bytes);
  expect(await answered(room, connection)).toMatchObject({ target: '/' });
  expect(problemOf(await connection.readResponse())).toMatchObject({ status: 501, code: 'bad-request' });
  await connection.readToEnd();
  expect(room.caller.stored).toHaveLength(1);
});

test('torn apart, so that its beginning is not known any more: 501', async () => {
  const { room, connection } = await connected();
  using _ = connection;
  connection.send('B');
  // The parser has taken this much when the next request of another connection is there.
  using other = await connectRaw(room.port);
  other.send(brew('GET'));
  await room.caller.action();
  connection.send(brew().slice(1));
  expect(problemOf(await connection.readResponse())).toMatchObject({ status: 501, code: 'bad-request' });
  await connection.readToEnd();
  expect(room.caller.stored).toHaveLength(1);
});

test('what only looks like one is malformed', async () => {
  for (const bytes of [
    'SSH-2.0-x\r\n\r\n',
    ' GET / HTTP/1.1\r\n\r\n',
    'BR(EW / HTTP/1.1\r\n\r\n',
    'BREW / HTTP/3.0\r\n\r\n',
  ]) {
    const { room, connection } = await connected();
    using _ = connection;
    connection.send(bytes);
    expect(problemOf(await connection.readResponse())).toMatchObject({ status: 400, code: 'bad-request' });
    await connection.readToEnd();
    expect(room.caller.stored).toHaveLength(0);
  }
});

test('a sidecar that stops closes their connections, too', async () => {
  const { room, connection } = await connected();
  connection.send(brew());
  await answered(room, connection);
  await room.outbound.drain(30_000);
  expect((await connection.readToEnd()).length).toBe(0);
});
