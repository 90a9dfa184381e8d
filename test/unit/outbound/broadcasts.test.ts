import { describe, expect, test } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { eventPublished } from '../../../sidecar/telemetry/channels.ts';
import { createLatch } from '../../support/latch.ts';
import { valueOf } from '../../support/header-list.ts';
import { openRoom, send } from './room.ts';

const route = { name: 'order-paid', mode: 'broadcast', topic: 'order.paid' } as const;
const post = `POST /events?x=1 HTTP/1.1
  Host: payments
  Content-Type: application/json
  Authorization: Bearer secret
  X-Tenant: a
  Content-Length: 2`;

function problemOf(text: string): unknown {
  return (JSON.parse(text) as { type: string }).type.split(':').at(-1);
}

describe('a broadcast route', () => {
  test('stores the request as an event and says so', async () => {
    await using room = await openRoom(route);
    const told: unknown[] = [];
    const listener = (message: unknown) => void told.push(message);
    eventPublished.subscribe(listener);
    const answer = await send(room.port, post, '{}');
    eventPublished.unsubscribe(listener);
    const [event] = room.caller.events;
    expect(event).toMatchObject({
      topic: 'order.paid',
      publisher: 'orders',
      route: 'order-paid',
      headers: ['Content-Type', 'application/json', 'X-Tenant', 'a'],
      hasBody: true,
    });
    expect(Buffer.from(event!.body).toString()).toBe('{}');
    expect(answer.status).toBe(202);
    expect(JSON.parse(answer.body.toString())).toEqual({ id: event!.id, topic: 'order.paid' });
    expect(valueOf(answer.headers, 'holdline-call-id')).toBe(event!.id);
    expect(valueOf(answer.headers, 'content-type')).toBe('application/json');
    expect(told).toMatchObject([{ id: event!.id, topic: 'order.paid', publisher: 'orders' }]);
    expect(room.caller.stored).toEqual([]);
  });

  test('takes any host: nobody in particular is addressed', async () => {
    await using room = await openRoom({ ...route, match: {} });
    expect(await send(room.port, 'GET / HTTP/1.1\nHost: Nobody.Example:80')).toMatchObject({ status: 202 });
    expect(room.caller.events[0]).toMatchObject({ hasBody: false, headers: [] });
  });

  test('does not wait for an answer, whatever the caller prefers', async () => {
    await using room = await openRoom(route);
    const answer = await send(room.port, 'GET / HTTP/1.1\nHost: payments\nPrefer: wait=60');
    expect(answer.status).toBe(202);
  });

  test('a key publishes once: the same request is the same event, another one is refused', async () => {
    await using room = await openRoom(route);
    const keyed = post.replace('X-Tenant', 'Idempotency-Key: k\n  X-Tenant');
    const first = await send(room.port, keyed, '{}');
    const [event] = room.caller.events;
    room.caller.onPublish = () => ({ kind: 'known', fingerprint: event!.fingerprint });
    const again = await send(room.port, keyed, '{}');
    expect([again.status, again.body.toString()]).toEqual([202, first.body.toString()]);
    expect(room.caller.events.map(({ id }) => id)).toEqual([event!.id, event!.id]);
    room.caller.onPublish = () => ({ kind: 'known', fingerprint: 'another' });
    const other = await send(room.port, keyed, '[]');
    expect([other.status, problemOf(other.body.toString())]).toEqual([422, 'key-reused']);
    // The key of another topic, path or method is another key.
    await send(room.port, keyed.replace('/events', '/other'), '{}');
    expect(room.caller.events.at(-1)!.id).not.toBe(event!.id);
  });

  test('with idempotencyKey: none every request is an event of its own', async () => {
    await using room = await openRoom({ ...route, idempotencyKey: 'none' });
    for (let i = 0; i < 2; i++) await send(room.port, 'GET / HTTP/1.1\nHost: payments\nIdempotency-Key: k');
    const [one, two] = room.caller.events;
    expect(one!.id).not.toBe(two!.id);
  });

  test('503 where nothing can be stored, or passed through where the route says so', async () => {
    await using room = await openRoom(route);
    room.caller.goAway();
    const refused = await send(room.port, post, '{}');
    expect([refused.status, problemOf(refused.body.toString())]).toEqual([503, 'broker-unavailable']);
    expect(valueOf(refused.headers, 'retry-after')).toBe('3');
    await using lenient = await openRoom(
      { ...route, onBrokerDown: 'passthrough' },
      { hosts: { payments: 'http://127.0.0.1:1' } },
    );
    lenient.caller.goAway();
    expect(problemOf((await send(lenient.port, post, '{}')).body.toString())).toBe('upstream-unreachable');
  });

  test('504 where the broker does not confirm within the hold, with nowhere to ask', async () => {
    const confirmed = createLatch();
    await using room = await openRoom({ ...route, hold: 50 });
    room.caller.onPublish = async () => {
      await confirmed.wait();
      return { kind: 'stored' };
    };
    const answer = await send(room.port, post, '{}');
    expect([answer.status, problemOf(answer.body.toString())]).toEqual([504, 'hold-expired']);
    expect(valueOf(answer.headers, 'location')).toBeUndefined();
    confirmed.open();
  });

  test('413 over maxBody, and nothing is published', async () => {
    await using room = await openRoom({ ...route, maxBody: 1 });
    expect(await send(room.port, post, '{}')).toMatchObject({ status: 413 });
    expect(room.caller.events).toEqual([]);
  });

  test('a defect is no promise: the connection breaks', async () => {
    await using room = await openRoom(route);
    room.caller.onPublish = () => {
      throw new TypeError('a defect');
    };
    await expect(send(room.port, post, '{}')).rejects.toThrow(/closed|ended|reset|hang up/i);
    room.caller.onPublish = () => {
      throw new BrokerUnavailable('full');
    };
    expect(await send(room.port, post, '{}')).toMatchObject({ status: 503 });
  });
});
