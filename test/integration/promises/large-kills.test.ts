import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { request, type ClientResponse, type RequestOptions } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { connectRaw } from '../../support/raw-http.ts';
import { startUpstream } from '../../support/upstream.ts';
import { openOnlooker } from '../broker/jetstream.ts';
import { brokers, holds, startSystem, type System } from '../limits/system.ts';
import { startPair } from './pair.ts';

const MB = 1024 * 1024;
/** More than what the system keeps of a connection of which nobody reads. */
const huge = randomBytes(20 * MB);
const large = huge.subarray(0, 5 * MB + 1);
const sha256 = (of: Uint8Array) => createHash('sha256').update(of).digest('hex');

type Orders = Pick<System, 'orders'>;

const portOf = ({ orders }: Orders) => Number(new URL(orders.outboundUrl).port);

function call({ orders }: Orders, options: RequestOptions = {}): Promise<ClientResponse> {
  return request('http://payments/charges', { method: 'POST', proxy: orders.outboundUrl, ...options });
}

const head = (method: string, size: number, ...fields: string[]) =>
  `${[`${method} /charges HTTP/1.1`, 'Host: payments', `Content-Length: ${size}`, ...fields].join('\r\n')}\r\n\r\n`;

/** A callee that does with each request as the next of these says. */
async function startCallee(...reactions: ((req: IncomingMessage, res: ServerResponse) => Promise<void> | void)[]) {
  let count = 0;
  const server = createServer((req, res) => {
    req.on('error', () => res.destroy());
    Promise.resolve(reactions[count++]!(req, res)).catch(() => res.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    get count() {
      return count;
    },
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Tells what it got. */
async function whole(req: IncomingMessage, res: ServerResponse): Promise<void> {
  res.end(sha256(await buffer(req)));
}

/** A caller that has got the beginning of its answer, and reads no further until it is told to. */
async function beginToRead(port: number, of: string): Promise<{ socket: Socket; rest: () => Promise<Buffer> }> {
  const socket = connect({ port, host: '127.0.0.1' });
  const read: Buffer[] = [];
  socket.on('error', () => socket.destroy());
  socket.write(of);
  const [first] = (await once(socket, 'data')) as [Buffer];
  socket.pause();
  read.push(first);
  const rest = async () => {
    socket.on('data', (part: Buffer) => read.push(part));
    const ended = once(socket, 'close');
    socket.resume();
    await ended;
    const all = Buffer.concat(read);
    return all.subarray(all.indexOf('\r\n\r\n') + 4);
  };
  return { socket, rest };
}

describe.each(brokers)("kill -9 of the callee's sidecar in the middle of a large body, on $name", ({ open }) => {
  test('while it sends a POST: outcome-unknown, and a replay sends the whole body', async () => {
    const began = createLatch();
    using callee = await startCallee((req) => {
      req.once('data', () => {
        req.pause();
        began.open();
      });
    }, whole);
    await using system = await startSystem({ open, url: callee.url });
    const answering = call(system, { body: huge });
    await began.wait('the callee to have the beginning');
    await system.payments.kill9();
    await system.payments.restart();
    const answer = await answering;
    expect([answer.status, answer.header('holdline-error')]).toEqual([502, 'outcome-unknown']);
    expect(callee.count).toBe(1);
    const id = answer.header('holdline-call-id')!;
    const replayed = await runHoldline(['dead-letters', 'replay', id, '--broker', system.broker]);
    expect(replayed).toMatchObject({ exitCode: 0 });
    await eventually(
      async () => {
        const later = await request(`http://payments/.holdline/calls/${id}`, { proxy: system.orders.outboundUrl });
        expect([later.status, later.text]).toEqual([200, sha256(huge)]);
      },
      { what: 'the answer of the replay', timeoutMs: 30_000 },
    );
    expect(callee.count).toBe(2);
  });

  test('while it takes the answer: a PUT is made again, and its whole answer comes', async () => {
    const began = createLatch();
    using callee = await startCallee(
      async (req, res) => {
        await buffer(req);
        res.setHeader('Content-Length', large.length);
        res.write(large.subarray(0, 3 * MB), () => began.open());
      },
      async (req, res) => {
        await buffer(req);
        res.end(large);
      },
    );
    await using system = await startSystem({ open, url: callee.url });
    const answering = call(system, { method: 'PUT', body: 'small' });
    await began.wait('the beginning of the answer to be sent');
    await system.payments.kill9();
    await system.payments.restart();
    const answer = await answering;
    expect([answer.status, sha256(answer.body)]).toEqual([200, sha256(large)]);
    expect(callee.count).toBe(2);
  });
});

describe("kill -9 of the caller's sidecar in the middle of a large body", () => {
  // What a writer leaves behind is tried on both in the conformance suite.
  const { open } = brokers[1]!;

  test('while it takes the request: nothing was accepted, and the same key begins anew', async () => {
    await using callee = await startUpstream(({ body }) => ({ body: sha256(body) }));
    await using system = await startSystem({ open, url: callee.url });
    using caller = await connectRaw(portOf(system));
    caller.send(head('POST', large.length, 'Idempotency-Key: once'));
    caller.send(large.subarray(0, 4 * MB));
    await holds(system.orders, 1);
    await system.orders.kill9();
    expect((await caller.readToEnd()).length).toBe(0);
    await system.orders.restart();
    const answer = await call(system, { body: large, headers: { 'Idempotency-Key': 'once' } });
    expect([answer.status, answer.text]).toEqual([200, sha256(large)]);
    expect(callee.requests).toHaveLength(1);
  });

  test('while it gives the answer: the answer breaks off, and the same key has all of it', async () => {
    await using callee = await startUpstream({ body: huge });
    await using system = await startSystem({ open, url: callee.url });
    const caller = await beginToRead(portOf(system), head('POST', 0, 'Idempotency-Key: once'));
    await system.orders.kill9();
    expect((await caller.rest()).length).toBeLessThan(huge.length);
    await system.orders.restart();
    const answer = await call(system, { headers: { 'Idempotency-Key': 'once', 'Content-Length': '0' } });
    expect([answer.status, sha256(answer.body)]).toEqual([200, sha256(huge)]);
    expect(callee.requests).toHaveLength(1);
  });
});

describe('kill -9 of the broker in the middle of a large body', () => {
  test('while the request is taken: the caller is made to wait, and the call is whole', async () => {
    await using pair = await startPair(({ body }) => ({ body: sha256(body) }));
    using caller = await connectRaw(portOf(pair));
    caller.send(head('POST', large.length));
    caller.send(large.subarray(0, 2 * MB));
    await holds(pair.orders, 1);
    await pair.server.kill9();
    caller.send(large.subarray(2 * MB));
    await pair.server.restart();
    const answer = await caller.readResponse();
    expect([answer.status, answer.body.toString()]).toEqual([200, sha256(large)]);
    expect(pair.upstream.requests).toHaveLength(1);
  });

  test('and it stays away: nothing was accepted, nothing is left of it, and the same key begins anew', async () => {
    await using pair = await startPair(({ body }) => ({ body: sha256(body) }));
    using caller = await connectRaw(portOf(pair));
    caller.send(head('POST', large.length, 'Idempotency-Key: once'));
    caller.send(large.subarray(0, 2 * MB));
    await using onlooker = await openOnlooker(pair.server.url);
    await eventually(async () => expect(await onlooker.messages('holdline_bodies_payments')).toBeGreaterThan(0), {
      what: 'the first chunks',
    });
    await pair.server.kill9();
    caller.send(large.subarray(2 * MB));
    const refused = await caller.readResponse();
    expect(refused.status).toBe(503);
    expect(refused.headers).toContainEqual(['Holdline-Error', 'broker-unavailable']);

    await pair.server.restart();
    await pair.orders.ready();
    const headers = { 'Idempotency-Key': 'once' };
    const answer = await eventually(
      async () => {
        const answered = await call(pair, { body: large, headers });
        expect(answered.status).toBe(200);
        return answered;
      },
      { what: 'the call to be taken', timeoutMs: 60_000 },
    );
    expect(answer.text).toBe(sha256(large));
    expect(pair.upstream.requests).toHaveLength(1);
    await eventually(async () => expect(await onlooker.messages('holdline_bodies_payments')).toBe(0), {
      what: 'no chunk to be left',
      timeoutMs: 60_000,
    });
  }, 180_000);

  test('while the answer is taken: it waits for the broker, and the callee is asked once', async () => {
    const began = createLatch();
    const goOn = createLatch();
    async function* answer(): AsyncGenerator<Buffer> {
      yield large.subarray(0, 2 * MB);
      began.open();
      await goOn.wait('the broker to be killed');
      yield large.subarray(2 * MB);
    }
    await using pair = await startPair(() => ({ body: answer() }));
    const answering = call(pair, { body: 'small' });
    await began.wait('the beginning of the answer');
    await pair.server.kill9();
    goOn.open();
    await pair.server.restart();
    const answered = await answering;
    expect([answered.status, sha256(answered.body)]).toEqual([200, sha256(large)]);
    expect(pair.upstream.requests).toHaveLength(1);
  });

  test('while the answer is given: the caller waits for the rest of it', async () => {
    await using pair = await startPair({ body: huge });
    const caller = await beginToRead(portOf(pair), head('POST', 0, 'Connection: close'));
    await pair.server.kill9();
    const rest = caller.rest();
    await pair.server.restart();
    expect(sha256(await rest)).toBe(sha256(huge));
  });
});
