import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw, type RawConnection } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { MB, watchMemory } from './memory.ts';
import { scale } from './scale.ts';
import { brokers, holds, startSystem, type System } from './system.ts';

const { large, timeout } = scale;
/** What a process may grow by besides what it has in hand: heap and buffers that are collected later; bytes. */
const slack = 100 * MB;

const portOf = (system: System) => Number(new URL(system.orders.outboundUrl).port);
const tooMuch = (heldBytes: number) => ({
  type: 'urn:holdline:problem:overloaded',
  title: 'Too many calls are held',
  status: 503,
  detail: `As much as limits.heldBytes (${heldBytes}) allows is held already; nothing was accepted.`,
});

test('callers that send slowly: what they announce is what they hold, and past it others are refused', async () => {
  const size = 256 * 1024;
  const fits = 32;
  await using callee = await startUpstream(({ body }) => ({ status: 201, body: String(body.length) }));
  await using system = await startSystem({
    open: brokers[0]!.open,
    url: callee.url,
    outbound: { limits: { heldBytes: '8MB' } },
  });
  const memory = watchMemory(system.orders.pid);
  const head = `POST /charges HTTP/1.1\r\nHost: payments\r\nContent-Length: ${size}\r\n\r\n`;
  const slow: RawConnection[] = [];
  try {
    for (let n = 0; n < fits; n++) {
      const connection = await connectRaw(portOf(system));
      slow.push(connection);
      connection.send(`${head}x`);
    }
    await holds(system.orders, fits);
    const refused = await request('http://payments/charges', {
      method: 'POST',
      body: 'one byte',
      proxy: system.orders.outboundUrl,
    });
    expect([refused.status, refused.header('holdline-error'), refused.header('retry-after')]).toEqual([
      503,
      'overloaded',
      '1',
    ]);
    expect(refused.json()).toEqual(tooMuch(fits * size));
    for (const connection of slow) connection.send(Buffer.alloc(size - 1, 'x'));
    for (const connection of slow) {
      const answer = await connection.readResponse();
      expect([answer.status, answer.body.toString()]).toEqual([201, String(size)]);
    }
  } finally {
    for (const connection of slow) connection[Symbol.dispose]();
  }
  expect(callee.requests).toHaveLength(fits);
  expect(memory.peak()).toBeLessThan(slack + 2 * fits * size);
});

test('callers that read large answers slowly: new calls are refused until those are read', async () => {
  const size = 16 * MB;
  const slowReaders = 6;
  // Of an answer that is read from the broker only a few chunks are in memory.
  const heldBytes = 7 * MB;
  const body = Buffer.alloc(size, 'y');
  await using callee = await startUpstream(({ target }) => ({ status: 200, body: target === '/large' ? body : 'ok' }));
  await using system = await startSystem({
    open: brokers[1]!.open,
    url: callee.url,
    outbound: { limits: { heldBytes: '7MB' } },
  });
  const memory = watchMemory(system.orders.pid);
  const slow: { readonly socket: Socket; read: number }[] = [];
  const one = () => request('http://payments/charges', { method: 'POST', body: '1', proxy: system.orders.outboundUrl });
  try {
    for (let n = 0; n < slowReaders; n++) {
      const socket = connect({ port: portOf(system), host: '127.0.0.1' });
      await once(socket, 'connect');
      const reader = { socket, read: 0 };
      socket.on('data', (data: Buffer) => (reader.read += data.length)).pause();
      socket.write('GET /large HTTP/1.1\r\nHost: payments\r\n\r\n');
      slow.push(reader);
    }
    // Each answer is in part in the system’s buffers, and the rest of it on the broker.
    await eventually(
      async () => {
        const refused = await one();
        expect([refused.status, refused.header('holdline-error')]).toEqual([503, 'overloaded']);
        expect(refused.json()).toEqual(tooMuch(heldBytes));
      },
      { what: 'a new call to be refused' },
    );
    for (const { socket } of slow) socket.resume();
    for (const reader of slow) {
      await eventually(() => expect(reader.read).toBeGreaterThan(size), { what: 'an answer to be read to its end' });
    }
    await eventually(async () => expect(await one()).toMatchObject({ status: 200 }), { what: 'a call to be taken' });
    expect(memory.peak()).toBeLessThan(slack);
  } finally {
    for (const { socket } of slow) socket.destroy();
  }
});

describe.each(brokers)('on $name', ({ open }) => {
  test(
    `a slow callee: of ${large} large calls that wait, its sidecar has only those in memory that run`,
    { timeout },
    async () => {
      const size = 512 * 1024;
      const concurrency = 4;
      const body = Buffer.alloc(size, 'z');
      const release = createLatch();
      await using callee = await startUpstream(async ({ body: { length } }) => {
        await release.wait('all calls to be stored', timeout);
        return { status: 201, body: String(length) };
      });
      await using system = await startSystem({
        open,
        url: callee.url,
        route: { mode: 'async' },
        inbound: { concurrency, timeout: '10m' },
      });
      const memory = { orders: watchMemory(system.orders.pid), payments: watchMemory(system.payments.pid) };
      for (let n = 0; n < large; n++) {
        const options = { method: 'POST', body, proxy: system.orders.outboundUrl, timeoutMs: timeout };
        expect(await request('http://payments/charges', options)).toMatchObject({ status: 202 });
      }
      await callee.received(concurrency);
      expect(callee.requests).toHaveLength(concurrency);
      // Far less than all of them, though each may have been looked at.
      expect(memory.payments.peak()).toBeLessThan(slack / 2 + (large * size) / 10);
      expect(memory.orders.peak()).toBeLessThan(2 * slack);
      release.open();
      await callee.received(large, timeout);
      expect(memory.payments.peak()).toBeLessThan(2 * slack);
    },
  );
});
