import { describe, expect, test } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { factsOf, type ActionEvent } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { sampleAction } from '../policy/sample-action.ts';
import { header, openRoom, problemOf, requestBytes, send, type Room } from './room.ts';

const id = '01890a5d-ac96-7abc-8def-0123456789ab';
const url = `/.holdline/calls/${id}`;
const get = `GET ${url} HTTP/1.1\nHost: payments`;

function open(room: Room, different: Partial<ActionEvent> = {}): ActionEvent {
  const action = sampleAction({ id, target: '/charges?token=secret', deadline: Date.now() + 60_000, ...different });
  room.caller.known.set(id, { kind: 'open', call: factsOf(action), fingerprint: 'f', activity: 'attempting' });
  return action;
}

describe('GET', () => {
  test.for<[how: string, head: string]>([
    ['by Host', get],
    ['for a host without a route', get.replace('payments', 'elsewhere')],
    ['in absolute-form', `GET http://elsewhere${url} HTTP/1.1\nHost: x`],
    ['with a query', get.replace(' HTTP', '?x=1 HTTP')],
  ])('a finished call %s: the stored answer, as replayed', async ([, head]) => {
    await using room = await openRoom({}, { unmatched: 'deny' });
    room.caller.finish(open(room), 'answered', { status: 201, headers: ['x-A', '1'], body: Buffer.from('paid') });
    const response = await send(room.port, head);
    expect(response).toMatchObject({ status: 201 });
    expect(response.body.toString()).toBe('paid');
    const own = [
      ['Holdline-Call-Id', id],
      ['Idempotent-Replayed', 'true'],
    ];
    expect(response.headers.slice(0, 3)).toEqual([['x-A', '1'], ...own]);
    expect(room.caller.delivered).toEqual([]);
  });

  test('HEAD: the same without the body', async () => {
    await using room = await openRoom();
    room.caller.finish(open(room), 'answered', { headers: ['Content-Length', '4'], body: Buffer.from('paid') });
    const response = await send(room.port, get.replace('GET', 'HEAD'));
    expect(header(response, 'Content-Length')).toBe('4');
    expect(response.body.length).toBe(0);
  });

  test('the answer of a keyed call counts as delivered then', async () => {
    await using room = await openRoom();
    room.caller.finish(open(room, { keyed: true }), 'answered', {});
    await send(room.port, get);
    await eventually(() => expect(room.caller.delivered).toEqual([id]), { what: 'the memory of it' });
  });

  test('an outcome of Holdline’s own: its problem', async () => {
    await using room = await openRoom();
    room.caller.finish(open(room), 'outcome-unknown');
    expect(problemOf(await send(room.port, get))).toMatchObject({ status: 502, code: 'outcome-unknown' });
    room.caller.finish(open(room), 'exhausted', { status: 503 });
    expect(header(await send(room.port, get), 'Holdline-Outcome')).toBe('exhausted');
  });

  test('an open call: 202 with its status, without its query', async () => {
    await using room = await openRoom();
    const action = open(room);
    const response = await send(room.port, get);
    expect(response.status).toBe(202);
    expect(JSON.parse(response.body.toString())).toMatchObject({
      id,
      state: 'attempting',
      service: action.service,
      route: action.route,
      method: action.method,
      path: '/charges',
      acceptedAt: new Date(action.acceptedAt).toISOString(),
    });
    expect(header(response, 'Retry-After')).toMatch(/^\d+$/);
    expect(header(response, 'Holdline-Error')).toBeUndefined();
  });

  test('Prefer: wait holds until the answer is there', async () => {
    await using room = await openRoom();
    const action = open(room);
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(`${get}\nPrefer: wait=20`));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the caller to wait' });
    room.caller.finish(action, 'answered', { status: 201 });
    expect((await connection.readResponse()).status).toBe(201);
    expect(room.outbound.held()).toBe(0);
  });

  test('Prefer: wait is over: 202', async () => {
    await using room = await openRoom();
    open(room);
    expect((await send(room.port, `${get}\nPrefer: wait=1`)).status).toBe(202);
    expect(room.caller.awaited).toEqual([]);
  });

  test('who waits and goes away waits no more; where no more may be held, nobody waits', async () => {
    await using room = await openRoom({}, { limits: { held: 1, heldBytes: 1 } });
    open(room);
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(`${get}\nPrefer: wait=20`));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the caller to wait' });
    expect((await send(room.port, `${get}\nPrefer: wait=20`)).status).toBe(202);
    connection.reset();
    await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the wait to end' });
    expect(room.caller.awaited).toEqual([]);
  });

  test('an open call past its deadline is concluded first', async () => {
    await using room = await openRoom();
    const action = open(room, { deadline: Date.now() - 1 });
    room.caller.onWithdraw = () => {
      room.caller.finish(action, 'deadline-exceeded');
      return 'withdrawn';
    };
    expect(problemOf(await send(room.port, get))).toMatchObject({ status: 504, code: 'deadline-exceeded' });
    expect(room.caller.withdrawn).toEqual([[id, 'deadline-exceeded']]);
  });

  test('the broker is away: 503', async () => {
    await using room = await openRoom();
    room.caller.onFind = () => {
      throw new BrokerUnavailable('not connected', { retryAfter: 2000 });
    };
    const response = await send(room.port, get);
    expect(problemOf(response)).toMatchObject({ status: 503, code: 'broker-unavailable' });
    expect(header(response, 'Retry-After')).toBe('2');
  });
});

test.for(['nonsense', '', `${id}/x`, id.toUpperCase(), id.replace('-7', '-4'), id])('unknown: %s', async (name) => {
  await using room = await openRoom();
  for (const method of ['GET', 'DELETE']) {
    room.caller.onWithdraw = () => 'unknown';
    const response = await send(room.port, `${method} /.holdline/calls/${name} HTTP/1.1\nHost: payments`);
    expect(problemOf(response)).toMatchObject({ status: 404, code: 'call-unknown' });
  }
});

test.for(['/.holdline', '/.holdline/', '/.holdline/other', '/.holdline/calls'])(
  'nothing else is at %s',
  async (path) => {
    await using room = await openRoom();
    const response = await send(room.port, `POST ${path} HTTP/1.1\nHost: payments\nContent-Length: 2`, 'ab');
    expect(problemOf(response)).toMatchObject({ status: 404, code: 'call-unknown' });
  },
);

describe('DELETE', () => {
  test.for([
    ['withdrawn', 204, undefined],
    ['started', 409, 'call-started'],
    ['finished', 409, 'call-started'],
    ['unknown', 404, 'call-unknown'],
  ] as const)('%s: %i', async ([result, status, code]) => {
    await using room = await openRoom();
    room.caller.onWithdraw = () => result;
    const response = await send(room.port, get.replace('GET', 'DELETE'));
    expect(room.caller.withdrawn).toEqual([[id, 'cancelled']]);
    expect(response.status).toBe(status);
    expect(header(response, 'Holdline-Error')).toBe(code);
    if (code === undefined) expect(response.headers).toEqual([['Holdline-Call-Id', id]]);
  });
});

test.for(['POST', 'PUT', 'OPTIONS'])('%s: 405', async (method) => {
  await using room = await openRoom();
  const response = await send(room.port, get.replace('GET', method));
  expect(problemOf(response)).toMatchObject({ status: 405, code: 'bad-request' });
  expect(header(response, 'Allow')).toBe('GET, HEAD, DELETE');
});
