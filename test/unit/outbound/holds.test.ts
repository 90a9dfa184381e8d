import { describe, expect, test } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { header, openRoom, problemOf, requestBytes, send } from './room.ts';

const get = 'GET /a HTTP/1.1\nHost: payments';
const keyed =
  'POST /charges HTTP/1.1\nHost: payments\nContent-Type: application/json\nIdempotency-Key: k\nContent-Length: 2';

describe('the hold', () => {
  test('over: 504, and the call goes on', async () => {
    await using room = await openRoom({ hold: 100 });
    const response = await send(room.port, get);
    const { id } = await room.caller.action();
    expect(problemOf(response)).toMatchObject({ status: 504, code: 'hold-expired' });
    expect(header(response, 'Location')).toBe(`/.holdline/calls/${id}`);
    expect(header(response, 'Retry-After')).toMatch(/^\d+$/);
    expect(room.caller.withdrawn).toEqual([]);
    expect(room.caller.awaited).toEqual([]);
  });

  test('over with onHoldExpired 202', async () => {
    await using room = await openRoom({ hold: 100, onHoldExpired: 202 });
    const response = await send(room.port, get);
    const { id } = await room.caller.action();
    expect(response.status).toBe(202);
    expect(JSON.parse(response.body.toString())).toEqual({ id, state: 'waiting' });
    expect(header(response, 'Location')).toBe(`/.holdline/calls/${id}`);
    expect(header(response, 'Holdline-Call-Id')).toBe(id);
    expect(header(response, 'Retry-After')).toMatch(/^\d+$/);
    expect(header(response, 'Holdline-Error')).toBeUndefined();
  });

  test('is shortened by Prefer: wait', async () => {
    await using room = await openRoom();
    expect(problemOf(await send(room.port, `${get}\nPrefer: wait=0`))).toMatchObject({ code: 'hold-expired' });
  });

  test.for([504, 202] as const)(
    'over before the broker has confirmed: 504 (onHoldExpired %i)',
    async (onHoldExpired) => {
      await using room = await openRoom({ hold: 100, onHoldExpired });
      const confirmed = createLatch<{ kind: 'accepted' }>();
      room.caller.onStore = () => confirmed.wait();
      const response = await send(room.port, get);
      const problem = problemOf(response);
      expect(problem).toMatchObject({ status: 504, code: 'hold-expired' });
      expect(problem.document['detail']).toContain('not confirmed');
      expect(header(response, 'Location')).toBe(`/.holdline/calls/${problem.document['callId'] as string}`);
      confirmed.open({ kind: 'accepted' });
    },
  );

  test('ends with a caller that goes away; its call goes on', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    await room.caller.action();
    expect(room.outbound.held()).toBe(1);
    connection.reset();
    await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the hold to end' });
    expect(room.caller.awaited).toEqual([]);
    expect(room.caller.withdrawn).toEqual([]);
  });

  test('longer than the deadline: the call is concluded here where nobody else does', async () => {
    await using room = await openRoom({ deadline: 50, hold: 20_000 });
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    const action = await room.caller.action();
    room.caller.onWithdraw = () => {
      room.caller.finish(action, 'deadline-exceeded');
      return 'withdrawn';
    };
    expect(problemOf(await connection.readResponse())).toMatchObject({ status: 504, code: 'deadline-exceeded' });
    expect(room.caller.withdrawn).toEqual([[action.id, 'deadline-exceeded']]);
  });

  test('an attempt that runs at the deadline is waited for, and looked after again', async () => {
    await using room = await openRoom({ deadline: 50, hold: 20_000 });
    room.caller.onWithdraw = () => 'started';
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    const action = await room.caller.action();
    await eventually(() => expect(room.caller.withdrawn.length).toBeGreaterThan(1), { what: 'a second look' });
    room.caller.finish(action, 'answered', {});
    expect((await connection.readResponse()).status).toBe(200);
  });
});

describe('asynchronous', () => {
  test.for([
    ['the route', { mode: 'async' }, get],
    ['the caller', {}, `${get}\nPrefer: foo\nprefer: Respond-Async`],
  ] as const)('%s says so: 202', async ([, route, head]) => {
    await using room = await openRoom(route);
    const response = await send(room.port, head);
    const { id } = await room.caller.action();
    expect(response.status).toBe(202);
    expect(JSON.parse(response.body.toString())).toEqual({ id, state: 'waiting' });
    expect(header(response, 'Location')).toBe(`/.holdline/calls/${id}`);
    expect(header(response, 'Holdline-Call-Id')).toBe(id);
  });

  test('with a wait: the answer if it comes in time, else 202', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(`${get}\nPrefer: respond-async, wait=20`));
    room.caller.finish(await room.caller.action(), 'answered', { status: 201 });
    expect((await connection.readResponse()).status).toBe(201);
    connection.send(requestBytes(`${get}\nPrefer: respond-async, wait=0`));
    expect((await connection.readResponse()).status).toBe(202);
  });

  test('not confirmed within the hold: 504', async () => {
    await using room = await openRoom({ mode: 'async', hold: 100 });
    const confirmed = createLatch<{ kind: 'accepted' }>();
    room.caller.onStore = () => confirmed.wait();
    expect(problemOf(await send(room.port, get))).toMatchObject({ status: 504, code: 'hold-expired' });
    confirmed.open({ kind: 'accepted' });
  });
});

describe('the broker is away', () => {
  test('for long: refused at once, nothing accepted', async () => {
    await using room = await openRoom();
    room.caller.onStore = () => {
      throw new BrokerUnavailable('not connected', { retryAfter: 3000 });
    };
    const response = await send(room.port, get);
    expect(problemOf(response)).toMatchObject({ status: 503, code: 'broker-unavailable' });
    expect(header(response, 'Retry-After')).toBe('3');
    expect(header(response, 'Location')).toBeUndefined();
    expect(room.caller.awaited).toEqual([]);
  });

  test('for a moment: the call waits for it', async () => {
    await using room = await openRoom();
    room.caller.goAway();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the call to be held' });
    room.caller.comeBack();
    room.caller.finish(await room.caller.action(), 'answered', {});
    expect((await connection.readResponse()).status).toBe(200);
  });

  test('and does not come back in time: refused', async () => {
    await using room = await openRoom();
    room.caller.goAway();
    expect(problemOf(await send(room.port, get))).toMatchObject({ code: 'broker-unavailable' });
  });

  test('a key cannot be looked up: refused', async () => {
    await using room = await openRoom();
    room.caller.onFind = () => {
      throw new BrokerUnavailable('no answer');
    };
    expect(problemOf(await send(room.port, keyed, '{}'))).toMatchObject({ code: 'broker-unavailable' });
    expect(room.caller.awaited).toEqual([]);
  });

  test('onBrokerDown: passthrough', async () => {
    await using upstream = await startUpstream({ status: 201, body: 'direct' });
    const hosts = { payments: upstream.url };
    await using room = await openRoom({ onBrokerDown: 'passthrough' }, { hosts });
    room.caller.onStore = () => {
      throw new BrokerUnavailable('not connected');
    };
    const head = 'POST /x HTTP/1.1\nHost: payments\nX-a: 1\nTransfer-Encoding: chunked';
    const response = await send(room.port, head, '3\r\nabc\r\n0\r\n\r\n');
    expect(response).toMatchObject({ status: 201 });
    expect(header(response, 'Holdline-Call-Id')).toBeUndefined();
    expect(upstream.requests[0]).toMatchObject({ method: 'POST', target: '/x' });
    expect(upstream.requests[0]?.body.toString()).toBe('abc');
    await upstream.down();
    expect(problemOf(await send(room.port, get))).toMatchObject({ status: 502, code: 'upstream-unreachable' });
  });
});
