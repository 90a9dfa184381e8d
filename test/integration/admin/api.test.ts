import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { createAdmin, type Admin } from '../../../sidecar/admin/server.ts';
import { openBroker } from '../../../sidecar/broker/open.ts';
import type { Broker } from '../../../sidecar/broker/port.ts';
import type { ActionEvent } from '../../../sidecar/model/call.ts';
import { anAction, anAttempt, givenUp } from '../../conformance/events.ts';
import { Hands, storeAll } from '../../conformance/stage.ts';
import { longRetention } from '../../conformance/backend.ts';
import { createTempDir, type TempDir } from '../../support/temp-dir.ts';

// The API on a real broker, with calls put there as sidecars would do it.
let folder: TempDir;
let broker: Broker;
let admin: Admin;

beforeAll(async () => {
  folder = await createTempDir('api');
  const config = {
    kind: 'sqlite' as const,
    file: folder.join('holdline.db'),
    namespace: 'holdline',
    retention: longRetention,
  };
  broker = await openBroker({ config, service: 'orders', instance: 'a1b2c', report: () => {} });
  await broker.start();
  admin = createAdmin(
    { listen: { host: '127.0.0.1', port: 0 } },
    {
      health: () => Promise.reject(new Error('nobody asks')),
      metrics: () => Promise.reject(new Error('nobody asks')),
      operator: () => broker.operator,
      traceLink: () => 'http://jaeger.example/trace/{traceId}',
    },
  );
  await admin.open();
});

afterAll(async () => {
  await admin.close();
  await broker.close(1000);
  await folder.remove();
});

async function ask(path: string, method = 'GET', headers: Record<string, string> = {}) {
  const outgoing = request(`http://${admin.address()}/api/${path}`, { method, headers, agent: false });
  outgoing.end();
  const [response] = (await once(outgoing, 'response')) as [IncomingMessage];
  const body = JSON.parse(await text(response)) as Record<string, unknown>;
  return { status: response.statusCode, type: response.headers['content-type'], body };
}

const json = { 'content-type': 'application/json' };

let callees = 0;

/** Calls to a service of their own. */
async function place(count: number): Promise<ActionEvent[]> {
  const log = broker.caller('orders');
  const service = `payments-${++callees}`;
  const start = Date.now() - 1000;
  const actions = Array.from({ length: count }, (_, n) =>
    anAction({ id: log.newCallId(service), service, acceptedAt: start + n, target: `/charges?n=${n}` }),
  );
  await storeAll(log, actions);
  return actions;
}

/** A call that was given up. */
async function bury(): Promise<ActionEvent> {
  const [action] = await place(1);
  const hands = Hands.open(broker, action!.service);
  await hands.finish(await hands.next(), givenUp(action!, 'exhausted', { attempts: [anAttempt(1, 'no-answer')] }));
  await hands.taking.stop();
  return action!;
}

test('calls are listed in pages, newest first, until there is no next one', async () => {
  const actions = await place(5);
  const ids = actions.map(({ id }) => id).toReversed();
  const { service } = actions[0]!;
  const seen: unknown[] = [];
  let next: unknown = `/api/calls?limit=2&service=${service}`;
  while (typeof next === 'string') {
    const { status, body } = await ask(next.slice('/api/'.length));
    expect(status).toBe(200);
    const calls = body['calls'] as { id: string }[];
    expect(calls.length).toBeLessThanOrEqual(2);
    seen.push(...calls.map(({ id }) => id));
    next = body['next'];
  }
  expect(seen).toEqual(ids);
  expect((await ask(`calls?state=answered&service=${service}`)).body).toEqual({ calls: [], next: null });
  expect((await ask('calls?caller=shop')).body).toEqual({ calls: [], next: null });
});

test('one call tells its whole story', async () => {
  const [action] = await place(1);
  const { status, body } = await ask(`calls/${action!.id}`);
  expect(status).toBe(200);
  expect(body).toMatchObject({ id: action!.id, state: 'waiting', target: '/charges?n=0', history: [] });
  expect(body['waitingFor']).toBeTypeOf('string');
});

test('so are the subscriptions, of all services or of one', async () => {
  expect((await ask('subscriptions?service=nobody')).body).toEqual({ subscriptions: [] });
  expect((await ask('subscriptions')).status).toBe(200);
});

test('the topology is there, over the window that is asked for', async () => {
  const { service } = await bury();
  const { body } = await ask('topology?window=1h');
  expect(body['windowSeconds']).toBe(3600);
  const edge = { from: 'orders', to: service, errors: 1, waiting: 0, deadLetters: 1 };
  expect(body['edges']).toEqual(expect.arrayContaining([expect.objectContaining(edge)]));
});

describe('dead letters', () => {
  test('are listed, shown, replayed and discarded', async () => {
    const { id, service } = await bury();
    const list = `dead-letters?service=${service}`;
    expect((await ask(`${list}&reason=exhausted`)).body).toMatchObject({ deadLetters: [{ id }], next: null });
    expect((await ask(`${list}&reason=outcome-unknown`)).body).toMatchObject({ deadLetters: [] });
    expect((await ask(`dead-letters/${id}`)).body).toMatchObject({ id, reason: 'exhausted' });
    expect((await ask(`dead-letters/${id}/replay`, 'POST', json)).body).toEqual({ replayed: [id] });
    expect(await ask(`dead-letters/${id}`)).toMatchObject({ status: 404, body: { callId: id } });
    expect((await ask(`calls/${id}`)).body).toMatchObject({ state: 'waiting', round: 2 });
    expect((await ask(`calls/${id}/cancel`, 'POST', json)).status).toBe(409);

    const other = await bury();
    expect((await ask(`dead-letters/${other.id}/discard`, 'POST', json)).body).toEqual({ discarded: [other.id] });
    expect((await ask(`dead-letters/${other.id}/discard`, 'POST', json)).status).toBe(404);
  });

  test.for<[why: string, headers: Record<string, string>]>([
    ['a form, which any page can send', { 'content-type': 'application/x-www-form-urlencoded' }],
    ['text, which any page can send', { 'content-type': 'text/plain' }],
    ['no content type', {}],
    ['another origin', { ...json, origin: 'https://evil.example' }],
    ['no origin that can be named', { ...json, origin: 'null' }],
    ['another site, as the browser says', { ...json, 'sec-fetch-site': 'cross-site' }],
  ])('are not touched by a request with %s', async ([, headers]) => {
    const { id } = await bury();
    for (const action of ['replay', 'discard']) {
      expect(await ask(`dead-letters/${id}/${action}`, 'POST', headers)).toMatchObject({ status: 403 });
    }
    expect((await ask(`dead-letters/${id}`)).status).toBe(200);
  });

  test('are touched by the page of the sidecar itself', async () => {
    const { id } = await bury();
    const own = { ...json, origin: `http://${admin.address()}`, 'sec-fetch-site': 'same-origin' };
    expect((await ask(`dead-letters/${id}/replay`, 'POST', own)).status).toBe(200);
  });
});

test('a call of which nothing was sent can be cancelled, once', async () => {
  const [action] = await place(1);
  expect((await ask(`calls/${action!.id}/cancel`, 'POST', json)).body).toEqual({ id: action!.id, state: 'cancelled' });
  expect(await ask(`calls/${action!.id}/cancel`, 'POST', json)).toMatchObject({
    status: 409,
    type: 'application/problem+json',
    body: { type: 'urn:holdline:problem:call-started' },
  });
});

test.for<[path: string, method: string, status: number, detail: string]>([
  ['calls?limit=0', 'GET', 400, 'limit: expected a whole number from 1 to 500, not "0"'],
  ['calls?limit=many', 'GET', 400, 'limit: expected a whole number'],
  ['calls?state=lost', 'GET', 400, 'state: expected one of waiting, attempting, answered, dead, cancelled'],
  ['calls?sort=up', 'GET', 400, 'takes limit, offset, service, caller, state in its query, not sort'],
  ['topology?window=long', 'GET', 400, 'window: '],
  ['calls/none', 'GET', 404, 'none is no call id'],
  ['calls/01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10', 'GET', 404, 'the broker knows no call 01980c2e'],
  ['nothing', 'GET', 404, 'there is no /api/nothing here'],
  ['__proto__', 'GET', 404, 'there is no /api/__proto__ here'],
  ['topology', 'POST', 405, '/api/topology takes GET, HEAD'],
  ['dead-letters/01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10/replay', 'GET', 405, 'takes POST'],
])('%s by %s is a problem that says what is wrong', async ([path, method, status, detail]) => {
  const answer = await ask(path, method, json);
  expect(answer).toMatchObject({ status, type: 'application/problem+json', body: { status } });
  expect(answer.body['detail']).toContain(detail);
});

test('a broker that is away is a problem as well', async () => {
  await broker.close(1000);
  expect(await ask('calls')).toMatchObject({ status: 503, body: { type: 'urn:holdline:problem:broker-unavailable' } });
});
