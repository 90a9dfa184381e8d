import { describe, expect, test } from 'vitest';
import { conclude, factsOf, noProgress, type ActionEvent } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { header, openRoom, problemOf, requestBytes, send } from './room.ts';

const keyed =
  'POST /charges HTTP/1.1\nHost: payments\nContent-Type: application/json\nIdempotency-Key: k\nContent-Length: 2';

describe('attaching by a key', () => {
  test('two callers of one instance wait for one call, and both get its answer', async () => {
    await using room = await openRoom();
    using first = await connectRaw(room.port);
    using second = await connectRaw(room.port);
    first.send(requestBytes(keyed, '{}'));
    const action = await room.caller.action();
    expect(action).toMatchObject({ keyed: true, idempotencyKey: 'k' });
    second.send(requestBytes(keyed, '{}'));
    await eventually(() => expect(room.outbound.held()).toBe(2), { what: 'both callers to wait' });
    room.caller.finish(action, 'answered', { body: Buffer.from('once') });
    for (const connection of [first, second]) {
      const response = await connection.readResponse();
      expect(response.body.toString()).toBe('once');
      expect(header(response, 'Idempotent-Replayed')).toBeUndefined();
    }
    expect(room.caller.stored).toHaveLength(1);
    expect(room.caller.attached).toEqual([{ id: action.id, how: 'waited' }]);
    await eventually(() => expect(room.caller.delivered).toEqual([action.id, action.id]), { what: 'the memory of it' });
  });

  test('the first caller leaves, the second still gets the answer', async () => {
    await using room = await openRoom();
    using first = await connectRaw(room.port);
    using second = await connectRaw(room.port);
    first.send(requestBytes(keyed, '{}'));
    const action = await room.caller.action();
    second.send(requestBytes(keyed, '{}'));
    await eventually(() => expect(room.outbound.held()).toBe(2), { what: 'both callers to wait' });
    first.reset();
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the first to be gone' });
    room.caller.finish(action, 'answered', {});
    expect((await second.readResponse()).status).toBe(200);
  });

  test.for([
    ['body', keyed, '[]'],
    ['target', keyed.replace('/charges', '/charges?x'), '{}'],
    ['content type', keyed.replace('application/json', 'text/plain'), '{}'],
  ] as const)('another %s under an open key: 422', async ([, head, body]) => {
    await using room = await openRoom();
    using first = await connectRaw(room.port);
    first.send(requestBytes(keyed, '{}'));
    const action = await room.caller.action();
    const response = await send(room.port, head, body);
    expect(problemOf(response)).toMatchObject({ status: 422, code: 'key-reused', document: { callId: action.id } });
  });

  test.for([
    ['path', keyed.replace('/charges', '/refunds')],
    ['method', keyed.replace('POST', 'PUT')],
    ['key', keyed.replace('Key: k', 'Key: l')],
  ] as const)('another %s is another call', async ([, head]) => {
    await using room = await openRoom();
    using first = await connectRaw(room.port);
    using second = await connectRaw(room.port);
    first.send(requestBytes(keyed, '{}'));
    second.send(requestBytes(head, '{}'));
    await room.caller.action(2);
    expect(new Set(room.caller.stored.map(({ id }) => id)).size).toBe(2);
  });

  test('a call that another instance has open is waited for', async () => {
    await using room = await openRoom();
    const seen = createLatch<string>();
    let other: ActionEvent | undefined;
    room.caller.onFind = (id) => {
      seen.open(id);
      return other && { kind: 'open', call: factsOf(other), fingerprint: other.fingerprint, activity: 'attempting' };
    };
    // Another instance is faster: what is to be stored turns out to be open.
    room.caller.onStore = (action) => {
      other = action;
      return { kind: 'open', fingerprint: action.fingerprint };
    };
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(keyed, '{}'));
    await seen.wait('the look-up');
    await eventually(() => expect(other).toBeDefined(), { what: 'the race' });
    room.caller.finish(other!, 'answered', { body: Buffer.from('theirs') });
    expect((await connection.readResponse()).body.toString()).toBe('theirs');
    expect(room.caller.stored).toEqual([]);
  });

  test('afterwards it is served from the store; as replayed once somebody has had it', async () => {
    await using room = await openRoom();
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(keyed, '{}'));
    const action = await room.caller.action();
    connection.reset();
    await eventually(() => expect(room.outbound.held()).toBe(0), { what: 'the caller to be gone' });
    const response = room.caller.finish(action, 'answered', { body: Buffer.from('stored') });

    const second = await send(room.port, keyed, '{}');
    expect(second.body.toString()).toBe('stored');
    expect(header(second, 'Idempotent-Replayed')).toBeUndefined();
    await eventually(() => expect(room.caller.delivered).toEqual([action.id]), { what: 'the memory of it' });

    room.caller.known.set(action.id, { kind: 'finished', response, delivered: true });
    const third = await send(room.port, keyed, '{}');
    expect(third.body.toString()).toBe('stored');
    expect(header(third, 'Idempotent-Replayed')).toBe('true');
    expect(room.caller.stored).toHaveLength(1);
  });

  test.for(['exhausted', 'deadline-exceeded'] as const)(
    '%s: starts again, and the old answer counts no more',
    async (outcome) => {
      await using room = await openRoom();
      using first = await connectRaw(room.port);
      first.send(requestBytes(keyed, '{}'));
      const action = await room.caller.action();
      const old = room.caller.finish(action, outcome, { status: 503 });
      expect((await first.readResponse()).status).toBe(503);

      using second = await connectRaw(room.port);
      second.send(requestBytes(keyed, '{}'));
      const again = await room.caller.action(2);
      expect(again).toMatchObject({ id: action.id, round: 2, earlier: old.attempts });
      // An answer to the first round that comes late, by a look-up, is not this one's.
      room.caller.finish(action, outcome, { status: 503 });
      await eventually(() => expect(room.caller.awaited).toEqual([action.id]), {
        what: 'the answer to be awaited again',
      });
      room.caller.finish(again, 'answered', { status: 201 });
      expect((await second.readResponse()).status).toBe(201);
    },
  );

  test.for([
    ['outcome-unknown', 502],
    ['cancelled', 410],
  ] as const)('%s: that problem, also for a caller that does not wait', async ([outcome, status]) => {
    await using room = await openRoom();
    using first = await connectRaw(room.port);
    first.send(requestBytes(keyed, '{}'));
    room.caller.finish(await room.caller.action(), outcome);
    await first.readResponse();
    for (const head of [keyed, `${keyed}\nPrefer: respond-async`]) {
      expect(problemOf(await send(room.port, head, '{}'))).toMatchObject({ status, code: outcome });
    }
    expect(room.caller.stored).toHaveLength(1);
  });

  test('a discarded call frees its key, for another request, too', async () => {
    await using room = await openRoom();
    using first = await connectRaw(room.port);
    first.send(requestBytes(keyed, '{}'));
    const action = await room.caller.action();
    const response = conclude(action, noProgress, 'discarded', Date.now());
    room.caller.finish(action, 'outcome-unknown');
    await first.readResponse();
    room.caller.known.set(action.id, { kind: 'finished', response, delivered: false });
    using second = await connectRaw(room.port);
    second.send(requestBytes(keyed, '[]'));
    expect(await room.caller.action(2)).toMatchObject({ id: action.id, round: 2, earlier: [] });
  });

  test('async: 202 with the state, also when it is answered', async () => {
    await using room = await openRoom({ mode: 'async' });
    const first = await send(room.port, keyed, '{}');
    expect(JSON.parse(first.body.toString())).toMatchObject({ state: 'waiting' });
    room.caller.finish(await room.caller.action(), 'answered', {});
    const second = await send(room.port, keyed, '{}');
    expect(second.status).toBe(202);
    expect(JSON.parse(second.body.toString())).toMatchObject({ state: 'answered' });
    expect(room.caller.stored).toHaveLength(1);
    expect(room.caller.delivered).toEqual([]);
  });
});
