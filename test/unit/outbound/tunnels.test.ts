import { afterEach, describe, expect, test } from 'vitest';
import { createLatch } from '../../support/latch.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { startRawCallee } from './raw-callee.ts';
import { openRoom, problemOf, requestBytes, send } from './room.ts';

afterEach(expectNoLeaks);

describe('WebSockets', () => {
  const handshake =
    'GET /chat?x HTTP/1.1\nHost: files\nConnection: keep-alive, Upgrade\nUpgrade: websocket\nSec-WebSocket-KEY: a';
  const accepted =
    'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUPGRADE: websocket\r\nX-a: 1\r\nX-a: 2\r\n\r\n';

  test('are tunnelled, with the bytes that came with the handshake', async () => {
    const seen = createLatch<string>();
    await using upstream = await startRawCallee((socket, received) => {
      let isOpen = false;
      socket.on('data', (data: string) => {
        if (isOpen) socket.write(data.toUpperCase());
        else if (received().includes('\r\n\r\n')) {
          isOpen = true;
          seen.open(received());
          socket.write(`${accepted}hello`);
        }
      });
    });
    await using room = await openRoom({}, { hosts: { files: `http://127.0.0.1:${upstream.port}` } });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(handshake));
    const response = await connection.readResponse();
    expect(response.statusLine).toBe('HTTP/1.1 101 Switching Protocols');
    expect(response.headers).toEqual([
      ['Connection', 'Upgrade'],
      ['UPGRADE', 'websocket'],
      ['X-a', '1'],
      ['X-a', '2'],
    ]);
    expect(await seen.wait('the handshake')).toBe(requestBytes(handshake));
    connection.send('abc');
    connection.endSending();
    for (const socket of upstream.sockets) socket.once('end', () => socket.end());
    expect((await connection.readToEnd()).toString()).toBe('helloABC');
  });

  test('that the callee refuses: its answer', async () => {
    await using upstream = await startUpstream({ status: 403, reason: 'No', headers: [['x-A', '1']], body: 'go away' });
    await using room = await openRoom({}, { hosts: { files: upstream.url } });
    const response = await send(room.port, handshake);
    expect(response).toMatchObject({ status: 403, reason: 'No' });
    expect(response.body.toString()).toBe('go away');
    expect(response.headers).toContainEqual(['x-A', '1']);
  });

  test('to nobody: 502', async () => {
    await using room = await openRoom({}, { hosts: { files: 'http://127.0.0.1:1' } });
    expect(problemOf(await send(room.port, handshake))).toMatchObject({ status: 502, code: 'upstream-unreachable' });
  });

  test('on a durable route: an ordinary call, as HTTP allows', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(handshake.replace('files', 'payments')));
    const action = await room.caller.action();
    expect(action.headers).toEqual(['Host', 'payments', 'Sec-WebSocket-KEY', 'a']);
    room.caller.finish(action, 'answered', { status: 426 });
    expect((await connection.readResponse()).status).toBe(426);
  });
});

describe('CONNECT', () => {
  test('tunnels both ways, closes each direction by itself, and hosts says where to', async () => {
    await using upstream = await startRawCallee((socket, received) => {
      socket.on('end', () => socket.end(`you said ${received()}`));
    });
    await using room = await openRoom({}, { hosts: { files: `http://127.0.0.1:${upstream.port}` }, unmatched: 'deny' });
    for (const target of ['files:443', 'FILES:80']) {
      using connection = await connectRaw(room.port);
      connection.send(requestBytes(`CONNECT ${target} HTTP/1.1\nHost: ${target}`, 'early '));
      expect(await connection.readResponse({ method: 'CONNECT' })).toMatchObject({ status: 200 });
      connection.send('late');
      connection.endSending();
      expect((await connection.readToEnd()).toString()).toBe('you said early late');
    }
  });

  test.for([
    ['nobody there', 'CONNECT 127.0.0.1:1 HTTP/1.1\nHost: 127.0.0.1:1', 502, 'upstream-unreachable'],
    ['no port', 'CONNECT files HTTP/1.1\nHost: files', 400, 'bad-request'],
    ['two Hosts', 'CONNECT files:1 HTTP/1.1\nHost: files:1\nHost: b', 400, 'bad-request'],
  ] as const)('%s', async ([, head, status, code]) => {
    await using room = await openRoom();
    expect(problemOf(await send(room.port, head))).toMatchObject({ status, code });
  });

  test('a callee that breaks the tunnel ends it', async () => {
    await using upstream = await startRawCallee((socket) => socket.once('data', () => socket.resetAndDestroy()));
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    const target = `127.0.0.1:${upstream.port}`;
    connection.send(requestBytes(`CONNECT ${target} HTTP/1.1\nHost: ${target}`));
    await connection.readResponse({ method: 'CONNECT' });
    connection.send('x');
    expect((await connection.readToEnd()).length).toBe(0);
  });
});
