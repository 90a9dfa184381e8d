import { describe, expect, test } from 'vitest';
import { type ActionEvent } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { openRoom, requestBytes } from './room.ts';

const get = 'GET /a HTTP/1.1\nHost: payments';
const keyed =
  'POST /charges HTTP/1.1\nHost: payments\nContent-Type: application/json\nIdempotency-Key: k\nContent-Length: 2';

describe('the action event', () => {
  test('is the request as it was, without what is for the connection or for Holdline', async () => {
    await using room = await openRoom({ name: 'charge', deadline: 60_000, maxBody: 5000 });
    const head = `POST //a/../b;c=%2F?q=1&q HTTP/1.1
      HOST: payments:8080
      x-Case: 1
      X-CASE: 2
      Connection: keep-alive, x-hop
      X-Hop: gone
      Holdline-Caller: someone
      TE: trailers
      Trailer: X-Sum
      Transfer-Encoding: chunked`;
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(head, '3\r\nabc\r\n2\r\nde\r\n0\r\nX-Sum: 5\r\n\r\n'));
    const action = await room.caller.action();
    expect(action).toMatchObject({
      round: 1,
      caller: 'orders',
      service: 'payments',
      route: 'charge',
      method: 'POST',
      target: '//a/../b;c=%2F?q=1&q',
      headers: ['HOST', 'payments:8080', 'x-Case', '1', 'X-CASE', '2', 'Trailer', 'X-Sum'],
      trailers: ['X-Sum', '5'],
      hasBody: true,
      idempotent: false,
      keyed: false,
      maxBody: 5000,
      earlier: [],
    });
    expect(Buffer.from(action.body).toString()).toBe('abcde');
    expect(action.deadline - action.acceptedAt).toBe(60_000);
    expect(action.trace?.traceparent).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
    expect(action).not.toHaveProperty('idempotencyKey');
  });

  test.for<[what: string, head: string, body: string, expected: Partial<ActionEvent>]>([
    ['no body', get, '', { hasBody: false, idempotent: true }],
    ['an empty body', 'POST / HTTP/1.1\nHost: payments\nContent-Length: 0', '', { hasBody: true, idempotent: false }],
    ['latin1', 'GET / HTTP/1.1\nHost: payments\nX-A: b\xe4r', '', { headers: ['Host', 'payments', 'X-A', 'b\xe4r'] }],
    [
      'absolute-form',
      'GET http://payments/x HTTP/1.1\nHost: other',
      '',
      { target: '/x', headers: ['Host', 'payments'] },
    ],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\nHost: payments', '', { target: '*' }],
    ['an empty key', 'GET / HTTP/1.1\nHost: payments\nIdempotency-Key:', '', { keyed: false }],
    ['HTTP/1.0', 'GET / HTTP/1.0\nHost: payments', '', { target: '/' }],
  ])('%s', async ([, head, body, expected]) => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(head, body));
    expect(await room.caller.action()).toMatchObject(expected);
  });

  test('the route says more than the method, and may ignore keys', async () => {
    await using room = await openRoom({ idempotent: true, idempotencyKey: 'none' });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(keyed, '{}'));
    expect(await room.caller.action()).toMatchObject({ idempotent: true, keyed: false, idempotencyKey: 'k' });
  });

  test('says where the answer is replayed to', async () => {
    await using room = await openRoom({ mode: 'async', callback: { method: 'PUT', path: '/done?x=1' } });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    expect(await room.caller.action()).toMatchObject({ callback: { method: 'PUT', target: '/done?x=1' } });
  });

  test('who is told to wait for 100 Continue gets it', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('POST / HTTP/1.1\nHost: payments\nContent-Length: 2\nExpect: 100-continue'));
    expect(await connection.readResponse()).toMatchObject({ status: 100 });
    connection.send('ab');
    expect((await room.caller.action()).headers).toEqual(['Host', 'payments', 'Content-Length', '2']);
  });

  test('a caller that goes away in the middle of its body has not made a call', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('POST / HTTP/1.1\nHost: payments\nContent-Length: 10', 'half'));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the request to be read' });
    connection.reset();
    await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the hold to end' });
    expect(room.caller.stored).toEqual([]);
  });
});
