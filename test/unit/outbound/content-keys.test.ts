import { describe, expect, test } from 'vitest';
import { conclude, noProgress } from '../../../sidecar/model/call.ts';
import { readCallId } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import type { RouteConfig } from '../../../sidecar/config/config.ts';
import { header, openRoom, problemOf, requestBytes, send, type Room } from './room.ts';

const charge = 'POST /charges?shop=1 HTTP/1.1\nHost: payments\nContent-Type: application/json\nContent-Length: 2';
const byContent: Partial<RouteConfig> = { idempotencyKey: 'content' };

/** A call whose caller went away before it was answered. */
async function undelivered(room: Room, head = charge) {
  using connection = await connectRaw(room.port);
  const count = room.caller.stored.length + 1;
  connection.send(requestBytes(head, '{}'));
  const action = await room.caller.action(count);
  connection.reset();
  await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the caller to be gone' });
  return action;
}

/** A call whose caller got its answer; the broker remembers it. */
async function delivered(room: Room) {
  using connection = await connectRaw(room.port);
  const count = room.caller.stored.length + 1;
  connection.send(requestBytes(charge, '{}'));
  const action = await room.caller.action(count);
  const response = room.caller.finish(action, 'answered', { body: Buffer.from('paid') });
  expect((await connection.readResponse()).body.toString()).toBe('paid');
  await eventually(() => expect(room.caller.delivered).toContain(action.id), { what: 'the memory of it' });
  room.caller.known.set(action.id, { kind: 'finished', response, delivered: true });
  return action;
}

describe('a request whose content is its key', () => {
  test('becomes a call with an id of its own and no key of the caller', async () => {
    await using room = await openRoom(byContent);
    const action = await undelivered(room);
    expect(readCallId(action.id).keyed).toBe(true);
    expect(action).toMatchObject({ keyed: true, round: 1 });
    expect(action.idempotencyKey).toBeUndefined();
  });

  test('waits for an open call with the same content, and both callers get the one answer', async () => {
    await using room = await openRoom(byContent);
    using first = await connectRaw(room.port);
    using second = await connectRaw(room.port);
    first.send(requestBytes(charge, '{}'));
    const action = await room.caller.action();
    // The same bytes, in chunks.
    second.send(
      requestBytes(charge.replace('Content-Length: 2', 'Transfer-Encoding: chunked'), '2\r\n{}\r\n0\r\n\r\n'),
    );
    await eventually(() => expect(room.outbound.held()).toBe(2), { what: 'both callers to wait' });
    room.caller.finish(action, 'answered', { body: Buffer.from('once') });
    for (const connection of [first, second]) {
      const response = await connection.readResponse();
      expect(response.body.toString()).toBe('once');
      expect(header(response, 'Idempotent-Replayed')).toBeUndefined();
    }
    expect(room.caller.stored).toHaveLength(1);
  });

  test('two that come at the same time become one call', async () => {
    await using room = await openRoom(byContent);
    const go = createLatch();
    room.caller.onClaim = () => go.wait('both to be there');
    using first = await connectRaw(room.port);
    using second = await connectRaw(room.port);
    for (const connection of [first, second]) connection.send(requestBytes(charge, '{}'));
    await eventually(() => expect(room.outbound.held()).toBe(2), { what: 'both callers to wait' });
    go.open();
    room.caller.finish(await room.caller.action(), 'answered', { body: Buffer.from('once') });
    for (const connection of [first, second]) expect((await connection.readResponse()).body.toString()).toBe('once');
    expect(room.caller.stored).toHaveLength(1);
  });

  test('gets the stored answer that nobody has had, which is no replay', async () => {
    await using room = await openRoom(byContent);
    const action = await undelivered(room);
    room.caller.finish(action, 'answered', { body: Buffer.from('paid') });
    const retry = await send(room.port, charge, '{}');
    expect(retry.body.toString()).toBe('paid');
    expect(header(retry, 'Holdline-Call-Id')).toBe(action.id);
    expect(header(retry, 'Idempotent-Replayed')).toBeUndefined();
    await eventually(() => expect(room.caller.delivered).toEqual([action.id]), { what: 'the memory of it' });
    expect(room.caller.stored).toHaveLength(1);
  });

  test('is another call where a caller has had the answer: bought twice on purpose', async () => {
    await using room = await openRoom(byContent);
    const first = await delivered(room);
    const second = await delivered(room);
    expect(second.id).not.toBe(first.id);
    expect([...room.caller.claims.values()]).toEqual([second.id]);
  });

  test('several at once after a delivery become one call', async () => {
    await using room = await openRoom(byContent);
    const first = await delivered(room);
    const go = createLatch();
    room.caller.onFind = async (id) => {
      await go.wait('both to look');
      return room.caller.known.get(id);
    };
    using one = await connectRaw(room.port);
    using other = await connectRaw(room.port);
    for (const connection of [one, other]) connection.send(requestBytes(charge, '{}'));
    await eventually(() => expect(room.outbound.held()).toBe(2), { what: 'both callers to wait' });
    go.open();
    const again = await room.caller.action(2);
    expect(again.id).not.toBe(first.id);
    room.caller.finish(again, 'answered', { body: Buffer.from('twice') });
    for (const connection of [one, other]) expect((await connection.readResponse()).body.toString()).toBe('twice');
    expect(room.caller.stored).toHaveLength(2);
  });

  test('is stored under the id that a sidecar claimed which died before it stored it', async () => {
    await using room = await openRoom(byContent);
    const action = await undelivered(room);
    room.caller.stored.length = 0;
    await undelivered(room);
    expect(room.caller.stored.map(({ id }) => id)).toEqual([action.id]);
  });

  test.for([
    ['body', charge, '[]'],
    ['target', charge.replace('shop=1', 'shop=2'), '{}'],
    ['content type', charge.replace('application/json', 'text/plain'), '{}'],
    ['method', charge.replace('POST', 'PUT'), '{}'],
    ['user', `${charge}\nAuthorization: Bearer other`, '{}'],
    ['session', `${charge}\nCookie: session=other`, '{}'],
  ] as const)('with another %s is another call', async ([, head, body]) => {
    await using room = await openRoom(byContent);
    using first = await connectRaw(room.port);
    using second = await connectRaw(room.port);
    first.send(requestBytes(charge, '{}'));
    second.send(requestBytes(head, body));
    await room.caller.action(2);
    expect(new Set(room.caller.stored.map(({ id }) => id)).size).toBe(2);
  });

  test('with an Idempotency-Key goes by that: two keys are two calls, and one key stays one call', async () => {
    await using room = await openRoom(byContent);
    const withKey = (key: string) => `${charge}\nIdempotency-Key: ${key}`;
    const action = await undelivered(room, withKey('a'));
    expect(action).toMatchObject({ idempotencyKey: 'a' });
    expect((await undelivered(room, withKey('b'))).id).not.toBe(action.id);
    const response = room.caller.finish(action, 'answered', { body: Buffer.from('paid') });
    room.caller.known.set(action.id, { kind: 'finished', response, delivered: true });
    const retry = await send(room.port, withKey('a'), '{}');
    expect(header(retry, 'Idempotent-Replayed')).toBe('true');
    expect(room.caller.claims.size).toBe(0);
  });

  test.for(['exhausted', 'deadline-exceeded'] as const)('starts a call again that ended %s', async (outcome) => {
    await using room = await openRoom(byContent);
    const action = await undelivered(room);
    room.caller.finish(action, outcome, { status: 503 });
    await undelivered(room);
    expect(room.caller.stored[1]).toMatchObject({ id: action.id, round: 2 });
  });

  test('is answered with outcome-unknown, however often it is told', async () => {
    await using room = await openRoom(byContent);
    const action = await undelivered(room);
    room.caller.finish(action, 'outcome-unknown');
    for (let i = 0; i < 2; i++) {
      expect(problemOf(await send(room.port, charge, '{}'))).toMatchObject({ status: 502, code: 'outcome-unknown' });
    }
    expect(room.caller.stored).toHaveLength(1);
    // A late answer of the same round would be taken for a delivered one.
    expect(room.caller.delivered).toEqual([]);
  });

  test('async: the same call until its answer, not its 202, was delivered', async () => {
    await using room = await openRoom({ ...byContent, mode: 'async' });
    const first = await send(room.port, charge, '{}');
    const action = await room.caller.action();
    const again = await send(room.port, charge, '{}');
    expect([again.status, header(again, 'Location')]).toEqual([202, header(first, 'Location')]);
    const response = room.caller.finish(action, 'answered', { body: Buffer.from('paid') });
    const late = await send(room.port, charge, '{}');
    expect([late.status, header(late, 'Location')]).toEqual([202, header(first, 'Location')]);
    expect(room.caller.delivered).toEqual([]);
    await send(room.port, `GET ${header(first, 'Location')} HTTP/1.1\nHost: payments`);
    await eventually(() => expect(room.caller.delivered).toEqual([action.id]), { what: 'the memory of it' });
    room.caller.known.set(action.id, { kind: 'finished', response, delivered: true });
    const other = await send(room.port, charge, '{}');
    expect(header(other, 'Location')).not.toBe(header(first, 'Location'));
  });

  test('after its caller has cancelled it is another call', async () => {
    await using room = await openRoom({ ...byContent, mode: 'async' });
    const first = await send(room.port, charge, '{}');
    const action = await room.caller.action();
    room.caller.onWithdraw = () => {
      const response = conclude(action, noProgress, 'cancelled', Date.now());
      room.caller.known.set(action.id, { kind: 'finished', response, delivered: false });
      return 'withdrawn';
    };
    expect((await send(room.port, `DELETE ${header(first, 'Location')} HTTP/1.1\nHost: payments`)).status).toBe(204);
    await eventually(() => expect(room.caller.delivered).toEqual([action.id]), { what: 'the memory of it' });
  });
});

describe('while the content is being claimed', () => {
  test('a caller that goes away leaves nothing behind', async () => {
    await using room = await openRoom(byContent);
    const go = createLatch();
    room.caller.onClaim = () => go.wait('the caller to be gone');
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(charge, '{}'));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the caller to wait' });
    connection.reset();
    await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the caller to be gone' });
    go.open();
    await eventually(() => expect(room.caller.claims.size).toBe(1), { what: 'the claim' });
    expect(room.caller.stored).toEqual([]);
  });

  test('a hold that ends goes on until the call has its place; then its caller learns where', async () => {
    await using room = await openRoom({ ...byContent, hold: 1 });
    const claim = createLatch();
    const store = createLatch();
    room.caller.onClaim = () => claim.wait('the hold to be over');
    room.caller.onStore = async () => {
      await store.wait('the answer');
      return { kind: 'accepted' };
    };
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(charge, '{}'));
    // Longer than the hold, as another alarm tells.
    using other = await connectRaw(room.port);
    other.send(requestBytes(`${charge}\nIdempotency-Key: k`, '{}'));
    expect(problemOf(await other.readResponse())).toMatchObject({ status: 504, code: 'hold-expired' });
    claim.open();
    const response = await connection.readResponse();
    expect(problemOf(response)).toMatchObject({ status: 504, code: 'hold-expired' });
    expect(header(response, 'Location')).toMatch(/^\/\.holdline\/calls\//);
    store.open();
    await room.caller.action(2);
  });

  test('a broker that is away refuses the request', async () => {
    await using room = await openRoom(byContent);
    room.caller.goAway();
    expect(problemOf(await send(room.port, charge, '{}'))).toMatchObject({ status: 503, code: 'broker-unavailable' });
    expect(room.caller.claims.size).toBe(0);
  });

  test('a sidecar that stops says that nothing was accepted', async () => {
    await using room = await openRoom(byContent);
    const go = createLatch();
    room.caller.onClaim = () => go.wait('the end');
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(charge, '{}'));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the caller to wait' });
    const drained = room.outbound.drain(0);
    const response = await connection.readResponse();
    expect(problemOf(response)).toMatchObject({ status: 503, code: 'shutting-down' });
    expect(header(response, 'Location')).toBeUndefined();
    go.open();
    await drained;
    expect(room.caller.stored).toEqual([]);
  });
});
