import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { openBroker } from '../../../sidecar/broker/open.ts';
import type { Broker, Lease, Taking } from '../../../sidecar/broker/port.ts';
import { brokerFromUrl } from '../../../sidecar/config/broker.ts';
import { type ActionEvent, type Answer, conclude, noProgress, type Outcome } from '../../../sidecar/model/call.ts';
import { runHoldline } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';

/*
 * The commands against a real broker. The calls are put there through the broker port, as sidecars would do it, so that
 * each is in exactly the state that a test wants to see.
 */

let server: NatsServer;
let orders: Broker;
let payments: Broker;

beforeAll(async () => {
  server = await startNatsServer();
  orders = await connect('orders', '00001');
  payments = await connect('payments', '00002');
});

afterAll(async () => {
  await orders.close(1000);
  await payments.close(1000);
  await server[Symbol.asyncDispose]();
});

async function connect(service: string, instance: string): Promise<Broker> {
  const problems: Error[] = [];
  const config = brokerFromUrl(server.url, process.cwd());
  const broker = await openBroker({ config, service, instance, report: (error) => problems.push(error) });
  await broker.start(AbortSignal.timeout(15_000));
  expect(broker.status, String(problems)).toMatchObject({ connected: true });
  return broker;
}

/** Stores a call of orders to `service`, which nobody takes yet. */
async function place(service: string, route = 'charge'): Promise<ActionEvent> {
  const caller = orders.caller('orders');
  const acceptedAt = Date.now();
  const action: ActionEvent = {
    id: caller.newCallId(service),
    round: 1,
    caller: 'orders',
    service,
    route,
    method: 'POST',
    target: '/charges?customer=ada',
    headers: ['Host', service],
    trailers: [],
    body: Buffer.from('{}'),
    hasBody: true,
    acceptedAt,
    deadline: acceptedAt + 3_600_000,
    idempotent: false,
    retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [503] },
    keyed: false,
    fingerprint: 'f',
    maxBody: 1_000_000,
    earlier: [],
  };
  caller.prepare([service]);
  await eventually(() => caller.store(action), { what: `a call to ${service} to be stored` });
  return action;
}

const created: Answer = { status: 201, reason: 'Created', headers: [], trailers: [], body: Buffer.from('ok') };

/** Takes the calls to `service` as its sidecar would, and hands each lease out. */
function take(service: string, deliver: (lease: Lease) => Promise<void>): Taking {
  const failures: unknown[] = [];
  const taking = payments.callee(service).take({
    free: () => 10,
    deliver: (lease) => void deliver(lease).catch((error: unknown) => failures.push(error)),
    report: () => undefined,
  });
  taking.resume();
  return taking;
}

/** Ends each call to `service` like this. */
function finishing(service: string, outcome: Outcome): Taking {
  return take(service, async (lease) => {
    const at = Date.now();
    const attempt = lease.action.earlier.length + 1;
    if ((await lease.start(attempt)) === 'gone') return;
    const instance = '00002';
    const progress =
      outcome === 'answered'
        ? { attempts: [{ attempt, at, ms: 3, evidence: 'answered' as const, status: 201, instance }], answer: created }
        : { attempts: [{ attempt, at, ms: 3, evidence: 'no-answer' as const, detail: 'socket hang up', instance }] };
    await lease.finish(conclude(lease.action, progress, outcome, Date.now()));
  });
}

/** Places a call and waits until it has ended. */
async function end(service: string, outcome: Outcome, route?: string): Promise<ActionEvent> {
  const action = await place(service, route);
  const response = orders.caller('orders').await(action.id);
  const taking = finishing(service, outcome);
  await response.response;
  response.release();
  await taking.stop();
  return action;
}

async function holdline(...args: string[]) {
  return runHoldline([...args, '--broker', server.url]);
}

/** Runs a command that must succeed, and reads its JSON. */
async function json(...args: string[]) {
  const { exitCode, stdout, stderr } = await holdline(...args, '--json');
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  return JSON.parse(stdout);
}

/** A service of its own for each test keeps the tests apart on one broker. */
let service = '';
let count = 0;
beforeEach(() => {
  service = `payments-${++count}`;
});

describe('calls', () => {
  test('list shows what waits and what has ended, newest first, in exactly the promised shape', async () => {
    const first = await end(service, 'answered');
    const second = await place(service);
    expect(await json('calls', 'list', '--service', service)).toEqual({
      calls: [
        {
          id: second.id,
          caller: 'orders',
          service,
          route: 'charge',
          method: 'POST',
          path: '/charges',
          state: 'waiting',
          status: null,
          attempts: 0,
          acceptedAt: new Date(second.acceptedAt).toISOString(),
          finishedAt: null,
        },
        expect.objectContaining({
          id: first.id,
          state: 'answered',
          status: 201,
          attempts: 1,
          finishedAt: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/),
        }),
      ],
    });
  });

  test('list for people has a line per call, and says where it ends', async () => {
    const older = await place(service);
    const newer = await place(service);
    const { exitCode, stdout, stderr } = await holdline('calls', 'list', '--service', service, '--limit', '1');
    expect(exitCode).toBe(0);
    expect(stdout.trimEnd().split('\n')).toEqual([
      expect.stringMatching(/^ID +STATE +STATUS +CALL .* ACCEPTED \(UTC\)/),
      expect.stringMatching(new RegExp(`^${newer.id}  waiting  .* POST /charges  orders  ${service}  charge `)),
    ]);
    expect(stdout).not.toContain(older.id);
    expect(stderr).toContain('--limit N shows more');
  });

  test('list narrows by state and caller', async () => {
    const open = await place(service);
    await end(`${service}-b`, 'answered');
    const waiting = await json('calls', 'list', '--state', 'waiting', '--caller', 'orders', '--limit', '500');
    const ids = waiting.calls.map(({ id }: { id: string }) => id);
    expect(ids).toContain(open.id);
    expect(new Set(waiting.calls.map(({ state }: { state: string }) => state))).toEqual(new Set(['waiting']));
    expect(await json('calls', 'list', '--caller', 'nobody')).toEqual({ calls: [] });
  });

  test('show tells the whole story of one call', async () => {
    const action = await end(service, 'answered');
    expect(await json('calls', 'show', action.id)).toMatchObject({
      id: action.id,
      state: 'answered',
      target: '/charges?customer=ada',
      outcome: 'answered',
      history: [{ attempt: 1, evidence: 'answered', status: 201, instance: '00002' }],
    });
    const { stdout } = await holdline('calls', 'show', action.id);
    expect(stdout).toContain('POST /charges?customer=ada');
    expect(stdout).toContain('attempt 1 by sidecar 00002: answered 201');
    expect(stdout).toContain('finished: orders is answered 201');
  });

  test('cancel takes a waiting call off, once', async () => {
    const action = await place(service);
    expect(await json('calls', 'cancel', action.id)).toEqual({ id: action.id, state: 'cancelled' });
    expect(await json('calls', 'show', action.id)).toMatchObject({ state: 'cancelled', outcome: 'cancelled' });
    const again = await holdline('calls', 'cancel', action.id);
    expect(again).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining('has finished already') });
  });

  test('cancel refuses a call that has been sent, and says so', async () => {
    const action = await place(service);
    const { promise: started, resolve } = Promise.withResolvers<Lease>();
    const taking = take(service, async (lease) => {
      await lease.start(1);
      resolve(lease);
    });
    const lease = await started;
    const refused = await holdline('calls', 'cancel', action.id);
    expect(refused).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining('it has been sent') });
    expect(await json('calls', 'show', action.id)).toMatchObject({ state: 'attempting' });
    await lease.finish(conclude(lease.action, { ...noProgress, answer: created }, 'answered', Date.now()));
    await taking.stop();
  });
});

describe('dead letters', () => {
  test('list and show tell the reason and every attempt', async () => {
    const action = await end(service, 'outcome-unknown');
    const { deadLetters } = await json('dead-letters', 'list', '--service', service);
    expect(deadLetters).toEqual([
      expect.objectContaining({
        id: action.id,
        reason: 'outcome-unknown',
        service,
        path: '/charges',
        history: [expect.objectContaining({ attempt: 1, evidence: 'no-answer', detail: 'socket hang up' })],
      }),
    ]);
    expect(await json('dead-letters', 'show', action.id)).toEqual(deadLetters[0]);
    const { stdout } = await holdline('dead-letters', 'show', action.id);
    expect(stdout).toContain('became a dead letter: outcome-unknown');
  });

  test('replay opens the next round and takes the letter off the list', async () => {
    const action = await end(service, 'outcome-unknown');
    expect(await json('dead-letters', 'replay', action.id)).toEqual({ replayed: [action.id], unknown: [] });
    expect(await json('dead-letters', 'list', '--service', service)).toEqual({ deadLetters: [] });
    expect(await json('calls', 'show', action.id)).toMatchObject({ state: 'waiting', round: 2 });
  });

  test('replay --all replays what the filters leave, each once, even when it dies again at once', async () => {
    const charge = await end(service, 'outcome-unknown', 'charge');
    const refund = await end(service, 'outcome-unknown', 'refund');
    const another = await end(service, 'outcome-unknown', 'charge');
    const select = ['dead-letters', 'replay', '--all', '--service', service];
    expect(await json(...select, '--dry-run')).toEqual({
      wouldReplay: [charge.id, refund.id, another.id],
      unknown: [],
    });
    expect((await json('dead-letters', 'list', '--service', service)).deadLetters).toHaveLength(3);

    const dying = finishing(service, 'outcome-unknown');
    const replayed = await json(...select, '--route', 'charge', '--rate', '100/s');
    expect(replayed).toEqual({ replayed: [charge.id, another.id], unknown: [] });
    await eventually(
      async () => {
        const { deadLetters } = await json('dead-letters', 'list', '--service', service);
        const attempts = deadLetters.map(({ id, history }: { id: string; history: unknown[] }) => [id, history.length]);
        expect(Object.fromEntries(attempts)).toEqual({ [charge.id]: 2, [refund.id]: 1, [another.id]: 2 });
      },
      { what: 'both to be dead letters again', timeoutMs: 30_000 },
    );
    await dying.stop();
  });

  test('discard gives up for good', async () => {
    const action = await end(service, 'outcome-unknown');
    expect(await json('dead-letters', 'discard', action.id)).toEqual({ discarded: [action.id], unknown: [] });
    expect(await json('dead-letters', 'list', '--service', service)).toEqual({ deadLetters: [] });
  });

  test('an unknown id among others fails, and the others are done all the same', async () => {
    const action = await end(service, 'outcome-unknown');
    const nobody = '01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10';
    const { exitCode, stdout, stderr } = await holdline('dead-letters', 'replay', nobody, action.id);
    expect(exitCode).toBe(1);
    expect(stdout).toBe(`replayed ${action.id}\n`);
    expect(stderr).toContain(`there is no dead letter ${nobody}`);
  });
});

test.each([
  ['calls', 'show'],
  ['calls', 'cancel'],
  ['dead-letters', 'show'],
  ['dead-letters', 'replay'],
  ['dead-letters', 'discard'],
])('%s %s of an unknown id fails, with a message on stderr alone', async (...command) => {
  for (const id of ['01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10', 'nonsense']) {
    const { exitCode, stdout, stderr } = await holdline(...command, id);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain(id);
  }
});

test('the topology names callers, callees and what goes on between them, in three forms', async () => {
  const action = await place('shipping', 'ship');
  const at = ['topology', '--broker', server.url];
  const printed = await runHoldline([...at, '--format', 'json', '--window', '1h']);
  const { services, edges } = JSON.parse(printed.stdout) as { services: { name: string }[]; edges: { to: string }[] };
  expect(services.map(({ name }) => name)).toEqual(expect.arrayContaining(['orders', 'shipping']));
  expect(edges.find(({ to }) => to === 'shipping')).toMatchObject({
    from: 'orders',
    to: 'shipping',
    routes: ['ship'],
    waiting: 1,
    oldestWaitingSince: new Date(action.acceptedAt).toISOString(),
    latencyMs: null,
  });
  expect((await runHoldline([...at, '--json'])).exitCode).toBe(0);
  expect((await runHoldline(at)).stdout).toMatch(/^orders +shipping +ship +0\/s/m);
  expect((await runHoldline([...at, '--format', 'mermaid'])).stdout).toMatch(/^flowchart LR\n(.*\n)*.*1 waiting/);
  expect((await runHoldline([...at, '--format', 'dot'])).exitCode).toBe(2);
  expect((await runHoldline([...at, '--window', 'long'])).exitCode).toBe(2);
});
