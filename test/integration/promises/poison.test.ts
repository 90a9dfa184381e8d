import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { runHoldline } from '../../support/command-line.ts';
import { request } from '../../support/http-client.ts';
import { freePort } from '../../support/free-port.ts';
import { ManagedProcess } from '../../support/managed-process.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const brokers: { name: string; open: (stack: AsyncDisposableStack) => Promise<string> }[] = [
  { name: 'JetStream', open: async (stack) => stack.use(await startNatsServer()).url },
  { name: 'SQLite', open: async (stack) => `sqlite:${stack.use(await createTempDir('poison')).join('holdline.db')}` },
];

/** For one test, ms: a killed sidecar's calls rest for seconds each time. */
const limit = 120_000;
const route = {
  name: 'charge',
  match: { host: 'payments' },
  hold: '2m',
  retry: { attempts: 3, backoff: '10ms..50ms' },
};

interface Letters {
  readonly deadLetters: {
    readonly reason: string;
    readonly history: { readonly attempt: number; readonly evidence: string }[];
  }[];
}

async function lettersOn(broker: string): Promise<Letters['deadLetters']> {
  const { stdout } = await runHoldline(['dead-letters', 'list', '--json', '--broker', broker]);
  return (JSON.parse(stdout) as Letters).deadLetters;
}

/** A service that a request to /poison kills, as a process. */
const fragile = `
  require('node:http').createServer((request, response) => {
    process.stdout.write(request.method + ' ' + request.url + ' ' + request.headers['holdline-attempt'] + '\\n');
    if (request.url === '/poison') process.kill(process.pid, 'SIGKILL');
    else response.end('fine');
  }).listen(Number(process.argv[1]), '127.0.0.1');
`;

describe.concurrent.each(brokers)('on $name', ({ open }) => {
  test.concurrent(
    'a call that kills the service at each attempt ends as a dead letter, and others go on',
    async () => {
      await using stack = new AsyncDisposableStack();
      const broker = await open(stack);
      const port = await freePort();
      const seen: string[] = [];
      let starts = 0;
      const ending = new AbortController();
      // What a supervisor does: a service that died is started again.
      const supervise = async () => {
        while (!ending.signal.aborted) {
          starts++;
          await using service = await ManagedProcess.start({
            label: 'fragile service',
            command: process.execPath,
            args: ['-e', fragile, String(port)],
          });
          const over = new Promise<void>((resolve) => ending.signal.addEventListener('abort', () => resolve()));
          await Promise.race([service.exited, over]);
          seen.push(...service.stdout.split('\n').filter((line) => line !== ''));
        }
      };
      const supervised = supervise();
      stack.defer(async () => {
        ending.abort();
        await supervised;
      });
      const orders = stack.use(await startSidecar({ service: 'orders', broker, outbound: { routes: [route] } }));
      stack.use(await startSidecar({ service: 'payments', broker, inbound: [{ url: `http://127.0.0.1:${port}` }] }));
      const call = (method: string, path: string) =>
        request(`http://payments${path}`, { method, body: 'b', proxy: orders.outboundUrl, timeoutMs: limit });

      const exhausted = await call('PUT', '/poison');
      expect([exhausted.status, exhausted.header('holdline-error')]).toEqual([502, 'exhausted']);
      const unknown = await call('POST', '/poison');
      expect([unknown.status, unknown.header('holdline-error')]).toEqual([502, 'outcome-unknown']);
      // A process that is going still accepts connections, and resets them.
      await eventually(() => expect(starts).toBe(5), { what: 'the service to be started again', timeoutMs: 30_000 });
      expect(await call('POST', '/other')).toMatchObject({ status: 200, text: 'fine' });

      const letters = await lettersOn(broker);
      expect(letters.map(({ reason, history }) => [reason, history.map(({ evidence }) => evidence)])).toEqual([
        ['outcome-unknown', ['no-answer']],
        ['exhausted', ['no-answer', 'no-answer', 'no-answer']],
      ]);
      ending.abort();
      await supervised;
      expect(seen).toEqual(['PUT /poison 1', 'PUT /poison 2', 'PUT /poison 3', 'POST /poison 1', 'POST /other 1']);
      expect(starts).toBe(5);
    },
    limit,
  );

  test.concurrent(
    'a call that kills the sidecar at each attempt ends as a dead letter',
    async () => {
      await using stack = new AsyncDisposableStack();
      const broker = await open(stack);
      const service = stack.use(await startUpstream(async () => await new Promise(() => undefined)));
      const orders = stack.use(
        await startSidecar({
          service: 'orders',
          broker,
          outbound: { routes: [{ ...route, retry: { attempts: 2, backoff: '10ms..50ms' } }] },
        }),
      );
      const payments = stack.use(
        await startSidecar({ service: 'payments', broker, inbound: [{ url: service.url, timeout: '5m' }] }),
      );
      const answer = request('http://payments/poison', {
        method: 'PUT',
        body: 'b',
        proxy: orders.outboundUrl,
        timeoutMs: limit,
      });
      for (const attempt of [1, 2]) {
        await service.received(attempt, limit);
        await payments.kill9();
        await payments.restart();
      }
      const exhausted = await answer;
      expect([exhausted.status, exhausted.header('holdline-error')]).toEqual([502, 'exhausted']);
      expect(service.requests.map((received) => received.header('holdline-attempt'))).toEqual(['1', '2']);
      const letters = await lettersOn(broker);
      expect(letters.map(({ reason, history }) => [reason, history.map(({ evidence }) => evidence)])).toEqual([
        ['exhausted', ['sidecar-died', 'sidecar-died']],
      ]);
      await eventually(async () => expect(await request(`${payments.adminUrl}/ready`)).toMatchObject({ status: 200 }), {
        what: 'the sidecar to be ready',
      });
    },
    limit,
  );
});
