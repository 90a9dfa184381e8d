import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BODY_WINDOW } from '../../../sidecar/broker/chunks.ts';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { fingerprint } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw, type RawConnection } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { header, openRoom, problemOf, requestBytes, type Room, send } from './room.ts';

let room: Room;

beforeEach(async () => {
  room = await openRoom({ mode: 'async' }, { limits: { held: 10, heldBytes: 2 * BODY_WINDOW } });
  room.caller.maxInlineBody = 10;
});

afterEach(() => room[Symbol.asyncDispose]());

const post = 'POST /charges HTTP/1.1\nHost: payments\nContent-Type: text/plain';
const text = 'a body of more than ten bytes';
const sized = `${post}\nContent-Length: ${text.length}`;

const chunked = [
  `${post}\nTransfer-Encoding: chunked`,
  `9\r\na body of\r\n14\r\n more than ten bytes\r\n0\r\nX-After: 1\r\n\r\n`,
] as const;

/** Begins a request and leaves its body unfinished. */
async function begin(head: string, body: string): Promise<RawConnection> {
  const connection = await connectRaw(room.port);
  connection.send(requestBytes(head, body));
  await eventually(() => expect(room.caller.bodies.places).toHaveLength(1), { what: 'the body to be stored' });
  return connection;
}

describe('a request', () => {
  test.each([
    ['with a length', sized, text],
    ['in chunks', ...chunked],
  ])('%s: stored apart, and the event refers to it', async (_, head, body) => {
    expect(await send(room.port, head, body)).toMatchObject({ status: 202 });
    const action = await room.caller.action();
    expect(action).toMatchObject({ hasBody: true, bodyRef: { size: text.length } });
    expect(action.body).toHaveLength(0);
    expect(Buffer.concat(room.caller.bodies.stored.get(action.bodyRef!.id)!).toString()).toBe(text);
    expect(room.caller.bodies.places).toMatchObject([{ kind: 'request', call: { id: action.id, caller: 'orders' } }]);
    expect(action.trailers).toEqual(body === text ? [] : ['X-After', '1']);
    expect(room.caller.bodies.forgotten).toEqual([]);
  });

  test.each([
    ['with a length', sized, text],
    ['in chunks', ...chunked],
  ])('%s and a key: the same request means the same, however its body is stored', async (_, head, body) => {
    await send(room.port, `${head}\nIdempotency-Key: k`, body);
    const action = await room.caller.action();
    expect(action.fingerprint).toBe(fingerprint('/charges', 'text/plain', Buffer.from(text)));
  });

  test('of exactly what fits is part of its event', async () => {
    await send(room.port, `${post}\nContent-Length: 10`, text.slice(0, 10));
    expect((await room.caller.action()).body).toHaveLength(10);
    expect(room.caller.bodies.places).toEqual([]);
  });

  test('a caller that goes away in the middle: nothing is stored', async () => {
    const connection = await begin(sized, text.slice(0, 20));
    connection.reset();
    await eventually(() => expect(room.caller.bodies.abandoned).toBe(1), { what: 'the body to be given up' });
    expect(room.caller.stored).toEqual([]);
  });

  test('a broker that refuses the body: 503, nothing was accepted, and the connection can end its request', async () => {
    room.caller.bodies.refuse(new BrokerUnavailable('full', { retryAfter: 5000 }));
    const refused = await send(room.port, sized, text);
    expect(problemOf(refused)).toMatchObject({ status: 503, code: 'broker-unavailable' });
    expect(header(refused, 'Retry-After')).toBe('5');
    expect(room.caller.stored).toEqual([]);
  });

  test('a broker that takes the body and refuses the call: the body is forgotten', async () => {
    room.caller.onStore = () => {
      throw new BrokerUnavailable('full');
    };
    expect(problemOf(await send(room.port, sized, text))).toMatchObject({ code: 'broker-unavailable' });
    await eventually(() => expect(room.caller.bodies.forgotten).toEqual(['body-0']), { what: 'it to be forgotten' });
  });

  test('a broker that is away: refused before the body is asked for', async () => {
    room.caller.goAway();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(`${sized}\nExpect: 100-continue`));
    expect(problemOf(await connection.readResponse())).toMatchObject({ status: 503, code: 'broker-unavailable' });
    expect(room.caller.bodies.places).toEqual([]);
  });

  test('while it is taken in it holds a window of memory, and none when it is stored', async () => {
    const hold = createLatch();
    room.caller.bodies.onPart = () => hold.wait();
    const first = send(room.port, ...chunked);
    const second = send(room.port, ...chunked);
    await eventually(() => expect(room.caller.bodies.places).toHaveLength(2), { what: 'two bodies' });
    expect(problemOf(await send(room.port, `${post}\nContent-Length: 1`, 'x'))).toMatchObject({ code: 'overloaded' });
    const stored = createLatch();
    let storing = 0;
    room.caller.onStore = async () => {
      storing++;
      await stored.wait();
      return { kind: 'accepted' };
    };
    hold.open();
    await eventually(() => expect(storing).toBe(2), { what: 'two calls to be stored' });
    const third = send(room.port, `${post}\nContent-Length: 1`, 'x');
    await eventually(() => expect(storing).toBe(3), { what: 'the third, for which there is room now' });
    stored.open();
    expect(await third).toMatchObject({ status: 202 });
    for (const answer of [first, second]) expect(await answer).toMatchObject({ status: 202 });
  });

  test('the second one under a key: its body is forgotten, and the first one’s is not', async () => {
    const keyed = `${sized}\nIdempotency-Key: k`;
    const stored = createLatch();
    room.caller.onStore = async () => {
      await stored.wait();
      return { kind: 'accepted' };
    };
    const first = send(room.port, keyed, text);
    await eventually(() => expect(room.caller.bodies.stored.size).toBe(1), { what: 'the first body' });
    const second = send(room.port, keyed, text);
    await eventually(() => expect(room.caller.bodies.forgotten).toEqual(['body-1']), { what: 'the second one’s' });
    stored.open();
    expect([(await first).status, (await second).status]).toEqual([202, 202]);
    expect(room.caller.stored).toMatchObject([{ bodyRef: { id: 'body-0' } }]);
    expect(room.caller.bodies.forgotten).toEqual(['body-1']);
  });
});

test('with onBrokerDown: passthrough and a broker that is away the whole body is passed through', async () => {
  await using callee = await startUpstream(({ body }) => ({ body: `got ${body.toString()}` }));
  await using open = await openRoom(
    { onBrokerDown: 'passthrough' },
    { hosts: { payments: callee.url }, limits: { held: 10, heldBytes: 2 * BODY_WINDOW } },
  );
  open.caller.maxInlineBody = 10;
  open.caller.goAway();
  expect((await send(open.port, sized, text)).body.toString()).toBe(`got ${text}`);
  expect((await send(open.port, ...chunked)).body.toString()).toBe(`got ${text}`);
});

describe('an answer', () => {
  const headers = ['Content-Type', 'text/plain', 'Content-Length', '8'];

  async function answering(method: string, answer: object): Promise<RawConnection> {
    await room[Symbol.asyncDispose]();
    room = await openRoom();
    const connection = await connectRaw(room.port);
    connection.send(requestBytes(`${method} /charges HTTP/1.1\nHost: payments`));
    room.caller.finish(await room.caller.action(), 'answered', { body: Buffer.alloc(0), ...answer });
    return connection;
  }

  test('is read while it is written, with its length', async () => {
    await room[Symbol.asyncDispose]();
    room = await openRoom();
    const bodyRef = room.caller.bodies.put('one ', 'two.');
    using connection = await connectRaw(room.port);
    for (let again = 0; again < 2; again++) {
      connection.send(requestBytes('GET /charges HTTP/1.1\nHost: payments'));
      room.caller.finish(await room.caller.action(again + 1), 'answered', { headers, body: Buffer.alloc(0), bodyRef });
      const response = await connection.readResponse();
      expect([response.status, response.body.toString()]).toEqual([200, 'one two.']);
      expect(header(response, 'Content-Length')).toBe('8');
    }
  });

  test('to HEAD is its head', async () => {
    const bodyRef = { id: 'never read', chunks: 1, size: 8, sha256: '' };
    using connection = await answering('HEAD', { headers, bodyRef });
    const response = await connection.readResponse({ method: 'HEAD' });
    expect([response.status, header(response, 'Content-Length')]).toEqual([200, '8']);
  });

  test('that is lost: a problem that says so', async () => {
    const bodyRef = { id: 'lost', chunks: 1, size: 8, sha256: '' };
    using connection = await answering('GET', { headers, bodyRef });
    const problem = problemOf(await connection.readResponse());
    expect(problem).toMatchObject({ status: 502, code: 'outcome-unknown' });
    expect(problem.document['detail']).toContain('lost');
  });

  test('that is lost on the way: the connection breaks, so that nobody takes it for whole', async () => {
    await room[Symbol.asyncDispose]();
    room = await openRoom();
    room.caller.bodies.onRead = (_, part) => {
      if (part === 1) throw new BrokerUnavailable('away');
    };
    const bodyRef = room.caller.bodies.put('one ', 'two.');
    using connection = await connectRaw(room.port);
    connection.send(requestBytes('GET /charges HTTP/1.1\nHost: payments'));
    room.caller.finish(await room.caller.action(), 'answered', { headers, body: Buffer.alloc(0), bodyRef });
    await expect(connection.readResponse()).rejects.toThrow(/ended|closed|in the middle/);
  });
});
