import { describe, expect, test } from 'vitest';
import { factsOf, type ActionEvent } from '../../../sidecar/model/call.ts';
import { callAccepted, callAnswered } from '../../../sidecar/telemetry/channels.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { header, openRoom, problemOf, requestBytes, send } from './room.ts';

const get = 'GET /a HTTP/1.1\nHost: payments';

describe('the answer', () => {
  test('is exactly the callee’s, plus the call id', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    const action = await room.caller.action();
    room.caller.finish(action, 'answered', {
      status: 299,
      reason: 'Fine \xe4',
      headers: [
        'x-B',
        '1',
        'Set-Cookie',
        'a',
        'X-b',
        'v\xe4l',
        'set-cookie',
        'b',
        'Holdline-Error',
        'x',
        'Content-Length',
        '2',
      ],
      body: Buffer.from([0, 255]),
    });
    const response = await connection.readResponse();
    expect(response.statusLine).toBe('HTTP/1.1 299 Fine \xe4');
    expect(response.headers).toEqual([
      ['x-B', '1'],
      ['Set-Cookie', 'a'],
      ['X-b', 'v\xe4l'],
      ['set-cookie', 'b'],
      ['Content-Length', '2'],
      ['Holdline-Call-Id', action.id],
    ]);
    expect([...response.body]).toEqual([0, 255]);
    // The connection goes on.
    connection.send(requestBytes(get));
    room.caller.finish(await room.caller.action(2), 'answered', { reason: '' });
    expect((await connection.readResponse()).statusLine).toBe('HTTP/1.1 200 ');
    expect(room.caller.delivered).toEqual([]);
    expect(room.caller.awaited).toEqual([]);
  });

  test('without a length goes in chunks, with its trailers', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    room.caller.finish(await room.caller.action(), 'answered', {
      headers: ['Trailer', 'X-Sum'],
      body: Buffer.from('hello'),
      trailers: ['X-Sum', '5', 'x-sum', '6'],
    });
    const response = await connection.readResponse();
    expect(header(response, 'Transfer-Encoding')).toBe('chunked');
    expect(header(response, 'Content-Length')).toBeUndefined();
    expect(header(response, 'Trailer')).toBe('X-Sum');
    expect(response.body.toString()).toBe('hello');
    expect(response.trailers).toEqual([
      ['X-Sum', '5'],
      ['x-sum', '6'],
    ]);
  });

  test('to HTTP/1.0 ends with the connection, without what 1.0 does not know', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('GET / HTTP/1.0\nHost: payments'));
    const answer = { headers: ['Trailer', 'X-Sum'], body: Buffer.from('hello'), trailers: ['X-Sum', '5'] };
    room.caller.finish(await room.caller.action(), 'answered', answer);
    const response = await connection.readResponse();
    expect(response.headers.map(([name]) => name)).toEqual(['Holdline-Call-Id', 'Connection']);
    expect(response.body.toString()).toBe('hello');
  });

  test.for<[what: string, method: string, status: number, headers: string[]]>([
    ['HEAD keeps the length', 'HEAD', 200, ['Content-Length', '123']],
    ['HEAD without a length', 'HEAD', 200, ['Trailer', 'X-A']],
    ['204', 'DELETE', 204, []],
    ['304 keeps the length', 'GET', 304, ['Content-Length', '123', 'ETag', '"a"']],
  ])('%s', async ([, method, status, headers]) => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    for (const count of [1, 2]) {
      connection.send(requestBytes(`${method} / HTTP/1.1\nHost: payments`));
      room.caller.finish(await room.caller.action(count), 'answered', { status, headers });
      const response = await connection.readResponse({ method });
      expect(response.status).toBe(status);
      const expected = headers[0] === 'Trailer' ? [] : headers;
      expect(response.headers.flat().slice(0, -2)).toEqual(expected);
    }
  });

  test('with a false length, as a hand could publish it, does not put the connection out of step', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get) + requestBytes(get));
    const answer = { headers: ['Content-Length', '50', 'Transfer-Encoding', 'gzip'], body: Buffer.from('five!') };
    room.caller.finish(await room.caller.action(1), 'answered', answer);
    room.caller.finish(await room.caller.action(2), 'answered', { body: Buffer.from('next') });
    expect((await connection.readResponse()).body.toString()).toBe('five!');
    expect((await connection.readResponse()).body.toString()).toBe('next');
  });

  test('comes also before the broker has confirmed the action', async () => {
    await using room = await openRoom();
    const confirmed = createLatch<{ kind: 'accepted' }>();
    const asked = createLatch<ActionEvent>();
    room.caller.onStore = (action) => {
      asked.open(action);
      return confirmed.wait();
    };
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    room.caller.finish(await asked.wait('store'), 'answered', { body: Buffer.from('early') });
    expect((await connection.readResponse()).body.toString()).toBe('early');
    confirmed.open({ kind: 'accepted' });
  });
});

test.for([
  ['exhausted', 502],
  ['outcome-unknown', 502],
  ['deadline-exceeded', 504],
  ['answer-too-large', 502],
  ['cancelled', 410],
] as const)('%s without an answer: %i', async ([outcome, status]) => {
  await using room = await openRoom();
  using connection = await connectRaw(room.port);
  connection.send(requestBytes(get));
  const action = await room.caller.action();
  room.caller.finish(action, outcome);
  const response = await connection.readResponse();
  expect(problemOf(response)).toMatchObject({ status, code: outcome, document: { callId: action.id } });
});

test.for(['exhausted', 'deadline-exceeded'] as const)('%s with a real answer: that one', async (outcome) => {
  await using room = await openRoom();
  using connection = await connectRaw(room.port);
  connection.send(requestBytes(get));
  const action = await room.caller.action();
  room.caller.finish(action, outcome, { status: 503, headers: ['X-A', '1'], body: Buffer.from('later') });
  const response = await connection.readResponse();
  expect(response).toMatchObject({ status: 503 });
  expect(response.headers.slice(0, 3)).toEqual([
    ['X-A', '1'],
    ['Holdline-Call-Id', action.id],
    ['Holdline-Outcome', outcome],
  ]);
  expect(header(response, 'Holdline-Error')).toBeUndefined();
});

test('what happens is told on the channels', async () => {
  await using room = await openRoom({ name: 'charge' });
  const told: unknown[] = [];
  const listener = (message: unknown) => told.push(message);
  callAccepted.subscribe(listener);
  callAnswered.subscribe(listener);
  try {
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    const action = await room.caller.action();
    await eventually(() => expect(told).toHaveLength(1), { what: 'the acceptance' });
    room.caller.finish(action, 'answered', {});
    await connection.readResponse();
    const { trace } = action;
    expect(told).toEqual([
      { call: factsOf(action), mode: 'await', storingMs: expect.any(Number), trace },
      {
        id: action.id,
        route: 'charge',
        service: 'payments',
        method: 'GET',
        target: '/a',
        trace,
        status: 200,
        replayed: false,
        outcome: 'answered',
        answers: trace,
        heldMs: expect.any(Number),
      },
    ]);
  } finally {
    callAccepted.unsubscribe(listener);
    callAnswered.unsubscribe(listener);
  }
});

test('a defect breaks the connection instead of claiming anything', async () => {
  await using room = await openRoom();
  room.caller.onStore = () => {
    throw new TypeError('a defect');
  };
  await expect(send(room.port, get)).rejects.toThrow('the connection ended');
});
