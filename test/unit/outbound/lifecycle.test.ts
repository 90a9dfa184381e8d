import { once } from 'node:events';
import { connect } from 'node:net';
import { describe, expect, test } from 'vitest';
import { createOutbound } from '../../../sidecar/outbound/outbound.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { sampleRoute } from '../policy/sample-route.ts';
import { MemoryCaller } from './memory-caller.ts';
import { header, openRoom, problemOf, requestBytes, sampleOutbound, send } from './room.ts';

const get = 'GET / HTTP/1.1\nHost: payments';

describe('listeners', () => {
  test.for([
    ['listen', 'outbound.listen'],
    ['ports', 'outbound.ports for payments'],
  ])('%s on a port that is taken: an error that names both', async ([key, name]) => {
    await using other = await openRoom();
    const taken = { host: '127.0.0.1', port: other.port };
    const listen = key === 'listen' ? { listen: taken } : { ports: [{ listen: taken, host: 'payments' }] };
    const caller = new MemoryCaller();
    const outbound = createOutbound({ service: 'orders', config: sampleOutbound(listen), broker: caller.broker });
    await expect(outbound.open()).rejects.toThrow(
      `${name}: cannot listen on 127.0.0.1:${other.port}: the port is already taken`,
    );
    expect(outbound.addresses()).toEqual([]);
    await outbound.drain(0);
  });

  test('callees are prepared for', async () => {
    await using room = await openRoom();
    expect(room.caller.prepared).toEqual(['payments']);
  });

  test('a reload changes routes, limits, hosts and ports; what is held goes on', async () => {
    await using upstream = await startUpstream({ body: 'direct' });
    await using room = await openRoom();
    const [first, second] = [await freePort(), await freePort()];
    using held = await connectRaw(room.port);
    held.send(requestBytes(get));
    const action = await room.caller.action();
    const routes = [sampleRoute({ mode: 'passthrough', match: { host: 'payments' } })];
    const ports = [
      { listen: { host: '127.0.0.1', port: first }, host: 'payments' },
      { listen: { host: '127.0.0.1', port: second }, host: 'stock' },
    ];
    await room.outbound.reconfigure(sampleOutbound({ routes, ports, hosts: { payments: upstream.url } }));
    expect((await send(first, 'GET / HTTP/1.1\nHost: x')).body.toString()).toBe('direct');
    expect((await send(room.port, get)).body.toString()).toBe('direct');

    const moved = [{ listen: { host: '127.0.0.1', port: first }, host: 'stock' }];
    await room.outbound.reconfigure(sampleOutbound({ ports: moved, hosts: { stock: upstream.url } }));
    expect((await send(first, 'GET / HTTP/1.1\nHost: x')).body.toString()).toBe('direct');
    await expect(connectRaw(second)).rejects.toThrow('ECONNREFUSED');

    room.caller.finish(action, 'answered', {});
    expect((await held.readResponse()).status).toBe(200);
  });

  test('a reload that fails leaves everything as it was', async () => {
    await using other = await openRoom();
    await using room = await openRoom();
    const free = await freePort();
    const ports = [free, other.port].map((port) => ({ listen: { host: '127.0.0.1', port }, host: 'stock' }));
    await expect(room.outbound.reconfigure(sampleOutbound({ ports, unmatched: 'deny' }))).rejects.toThrow(
      'already taken',
    );
    await expect(connectRaw(free)).rejects.toThrow('ECONNREFUSED');
    using connection = await connectRaw(room.port);
    connection.send(requestBytes(get));
    await room.caller.action();
  });
});

describe('draining', () => {
  test('held calls end with their answers, and their connections with them', async () => {
    const room = await openRoom();
    using held = await connectRaw(room.port);
    held.send(requestBytes(get));
    const action = await room.caller.action();
    const drained = room.outbound.drain(20_000);
    await eventually(() => expect(connectRaw(room.port)).rejects.toThrow('ECONNREFUSED'), {
      what: 'the listener to close',
    });
    room.caller.finish(action, 'answered', { body: Buffer.from('ok') });
    const response = await held.readResponse();
    expect(response.body.toString()).toBe('ok');
    expect(header(response, 'Connection')).toBe('close');
    await drained;
    expect(room.caller.listeners).toBe(0);
  });

  test('idle connections do not keep it up, used or not', async () => {
    const room = await openRoom({}, { unmatched: 'deny' });
    const fresh = connect(room.port, '127.0.0.1');
    await once(fresh, 'connect');
    using used = await connectRaw(room.port);
    used.send(requestBytes('GET / HTTP/1.1\nHost: elsewhere'));
    await used.readResponse();
    const closed = once(fresh.resume(), 'close');
    // Longer than this test may take.
    await room.outbound.drain(600_000);
    await closed;
    expect((await used.readToEnd()).length).toBe(0);
  });

  test('at the limit who still waits is told where to ask; the call goes on', async () => {
    const room = await openRoom();
    using held = await connectRaw(room.port);
    held.send(requestBytes(get));
    const { id } = await room.caller.action();
    const drained = room.outbound.drain(50);
    const response = await held.readResponse();
    expect(problemOf(response)).toMatchObject({ status: 503, code: 'shutting-down', document: { callId: id } });
    expect(header(response, 'Location')).toBe(`/.holdline/calls/${id}`);
    expect(header(response, 'Retry-After')).toMatch(/^\d+$/);
    await drained;
    expect(room.caller.withdrawn).toEqual([]);
    expect(room.caller.awaited).toEqual([]);
  });

  test('a request that is not complete at the limit was not accepted', async () => {
    const room = await openRoom();
    using held = await connectRaw(room.port);
    held.send(requestBytes('POST / HTTP/1.1\nHost: payments\nContent-Length: 10', 'half'));
    await eventually(() => expect(room.outbound.held()).toBe(1), { what: 'the request to be read' });
    const drained = room.outbound.drain(50);
    const response = await held.readResponse();
    expect(problemOf(response)).toMatchObject({ status: 503, code: 'shutting-down' });
    expect(header(response, 'Location')).toBeUndefined();
    await drained;
    expect(room.caller.stored).toEqual([]);
  });

  test('a new request on a connection that is open is refused', async () => {
    const room = await openRoom();
    using connection = await connectRaw(room.port);
    // Pipelined: the second request is read while the first is held.
    connection.send(requestBytes(get));
    const action = await room.caller.action();
    const drained = room.outbound.drain(20_000);
    connection.send(requestBytes(get.replace('/', '/second')));
    await eventually(() => expect(connectRaw(room.port)).rejects.toThrow('ECONNREFUSED'), {
      what: 'the listener to close',
    });
    room.caller.finish(action, 'answered', {});
    expect((await connection.readResponse()).status).toBe(200);
    await connection.readToEnd();
    await drained;
    expect(room.caller.stored).toHaveLength(1);
  });

  test('tunnels and passed-through requests go on until the limit, and are cut off then', async () => {
    const never = createLatch();
    await using upstream = await startUpstream(async () => {
      await never.wait();
      return {};
    });
    const room = await openRoom({}, { hosts: { files: upstream.url } });
    using tunnel = await connectRaw(room.port);
    tunnel.send(requestBytes(`CONNECT files:80 HTTP/1.1\nHost: files:80`));
    await tunnel.readResponse({ method: 'CONNECT' });
    using passing = await connectRaw(room.port);
    passing.send(requestBytes('GET / HTTP/1.1\nHost: files'));
    await upstream.received(1);
    await room.outbound.drain(50);
    expect((await tunnel.readToEnd()).length + (await passing.readToEnd()).length).toBe(0);
    never.open();
  });

  test('a second time it just ends', async () => {
    const room = await openRoom();
    await Promise.all([room.outbound.drain(20_000), room.outbound.drain(0)]);
    await room.outbound.drain(0);
    await expect(connectRaw(room.port)).rejects.toThrow('ECONNREFUSED');
  });
});
