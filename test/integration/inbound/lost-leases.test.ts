import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { createLatch, type Latch } from '../../support/latch.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const brokers: { name: string; open: (stack: AsyncDisposableStack) => Promise<string> }[] = [
  { name: 'JetStream', open: async (stack) => stack.use(await startNatsServer()).url },
  { name: 'SQLite', open: async (stack) => `sqlite:${stack.use(await createTempDir('lost')).join('holdline.db')}` },
];

/** How long it may take until the calls of a suspended sidecar are somebody else's, ms. */
const takeover = 30_000;

/** For one test, ms: most of it is that time. */
const limit = 120_000;

interface Attempt {
  readonly token: string;
  readonly attempt: string | undefined;
  /** Lets the service answer it. */
  readonly answer: Latch;
  /** Open when the connection has gone away before the answer. */
  readonly broken: Latch;
}

/** A service that shows when a sidecar breaks an attempt off. */
async function startSlowService(): Promise<{ readonly url: string; readonly attempts: Attempt[] } & AsyncDisposable> {
  const attempts: Attempt[] = [];
  const server: Server = createServer((incoming, response) => {
    const serve = async () => {
      const token = (await buffer(incoming)).toString();
      const { 'holdline-attempt': attempt } = incoming.headers;
      const made = { token, attempt: attempt as string | undefined, answer: createLatch(), broken: createLatch() };
      response.once('close', () => response.writableFinished || made.broken.open());
      attempts.push(made);
      await made.answer.wait();
      response.end(`${token}, attempt ${made.attempt}`);
    };
    serve().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    attempts,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

describe.concurrent.each(brokers)(
  'a sidecar is suspended for so long that another one takes its calls, on $name',
  ({ open }) => {
    test.concurrent(
      'in the middle of attempts: a call that is repeated elsewhere is broken off, a guarded one is waited for',
      async () => {
        await using stack = new AsyncDisposableStack();
        const broker = await open(stack);
        const service = stack.use(await startSlowService());
        const retry = { attempts: 3, backoff: '10ms..20ms' };
        const routes = [{ name: 'charge', match: { host: 'payments' }, hold: '2m', retry }];
        const orders = stack.use(await startSidecar({ service: 'orders', broker, outbound: { routes } }));
        const payments = { service: 'payments', broker, inbound: [{ url: service.url, timeout: '2m' }] };
        const first = stack.use(await startSidecar(payments));
        const call = (method: string, body: string) =>
          request(`http://payments/charges/${body}`, { method, body, proxy: orders.outboundUrl, timeoutMs: 120_000 });
        const arrived = (count: number) =>
          eventually(() => expect(service.attempts).toHaveLength(count), {
            what: `attempt ${count}`,
            timeoutMs: takeover,
          });

        const repeated = call('PUT', 'repeated');
        await arrived(1);
        const guarded = call('POST', 'guarded');
        await arrived(2);
        stack.use(await startSidecar(payments));
        await first.suspend();
        await arrived(3);
        const [lost, only, second] = service.attempts as [Attempt, Attempt, Attempt];
        expect([lost, only, second].map(({ token, attempt }) => `${token} ${attempt}`)).toEqual([
          'repeated 1',
          'guarded 1',
          'repeated 2',
        ]);
        const unknown = await guarded;

        first.resume();
        await lost.broken.wait('the lost attempt to be broken off');
        expect(only.broken.isOpen).toBe(false);
        second.answer.open();
        expect(await repeated).toMatchObject({ status: 200, text: 'repeated, attempt 2' });

        only.answer.open();
        const location = `${orders.outboundUrl}/.holdline/calls/${unknown.header('holdline-call-id')}`;
        await eventually(
          async () => expect(await request(location)).toMatchObject({ status: 200, text: 'guarded, attempt 1' }),
          { what: 'the real answer of the guarded call' },
        );
        const letters = await runHoldline(['dead-letters', 'list', '--json', '--broker', broker]);
        expect(JSON.parse(letters.stdout)).toEqual({ deadLetters: [] });
        expect(service.attempts).toHaveLength(3);
      },
      limit,
    );

    test.concurrent(
      'before attempts: what another one has carried out is not started',
      async () => {
        await using stack = new AsyncDisposableStack();
        const broker = await open(stack);
        const service = stack.use(await startUpstream(({ body }) => ({ status: 201, body })));
        const routes = [{ name: 'charge', match: { host: 'payments' }, hold: '2m' }];
        const orders = stack.use(await startSidecar({ service: 'orders', broker, outbound: { routes } }));
        const payments = (rate: string) => ({ service: 'payments', broker, inbound: [{ url: service.url, rate }] });
        // It takes more calls than it may start at once, and these wait inside of it.
        const first = stack.use(await startSidecar(payments('1/s')));
        const tokens = Array.from({ length: 4 }, (_, n) => `call ${n}`);
        const call = (method: string, body: string) =>
          request('http://payments/charges', { method, body, proxy: orders.outboundUrl, timeoutMs: 120_000 });
        const answers = tokens.map((token, n) => call(n % 2 === 0 ? 'POST' : 'PUT', token));
        // The next one is a second away, and nothing is under way.
        await Promise.any(answers);
        await first.suspend();
        const before = service.requests.length;
        expect(before).toBeLessThan(tokens.length);
        const second = stack.use(await startSidecar(payments('1000/s')));
        await eventually(
          () => expect(new Set(service.requests.map(({ body }) => body.toString())).size).toBe(tokens.length),
          { what: 'all calls to be carried out', timeoutMs: takeover },
        );
        first.resume();
        for (const [n, answer] of (await Promise.all(answers)).entries()) {
          expect([answer.status, answer.text]).toEqual([201, tokens[n]]);
        }
        // What it had kept from before would come before this one.
        await second.kill9();
        expect(await call('POST', 'after')).toMatchObject({ status: 201, text: 'after' });
        expect(service.requests.slice(tokens.length).map(({ body }) => body.toString())).toEqual(['after']);
      },
      limit,
    );
  },
);
