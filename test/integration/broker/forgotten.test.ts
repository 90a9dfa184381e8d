import { afterEach, beforeEach, expect, test } from 'vitest';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { acknowledge, forgetting, settled } from './forgetting.ts';
import {
  answered,
  Hands,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

let server: NatsServer;
let onlooker: Onlooker;
let caller: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  caller = await openBroker(server.url);
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

test('calls that the server keeps and believes settled are carried out, in their order', async () => {
  const ids = [await store(), await store(), await store()];
  await forgetting({ server, onlooker, caller }, () => acknowledge(onlooker));
  await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
  const hands = new Hands(callee.broker, { slots: ids.length });
  for (const id of ids) {
    const lease = await hands.next(`${id} to be delivered after all`, 30_000);
    expect(lease.action.id).toBe(id);
    await lease.start(1);
    await lease.finish(answered(lease));
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({ kind: 'finished' });
  }
  await settled(onlooker);
  expect(hands.leases).toHaveLength(ids.length);
  const told = callee.problems.map(({ message }) => message).filter((message) => message.includes('had forgotten'));
  expect(told).toEqual(ids.map((id) => expect.stringContaining(id) as string));
});

test('a call that is answered is only cleared away', async () => {
  const id = await store();
  await forgetting({ server, onlooker, caller }, async () => {
    await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
    const lease = await new Hands(callee.broker).next();
    await lease.start(1);
    await lease.finish(answered(lease));
    await settled(onlooker);
  });
  await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
  const hands = new Hands(callee.broker);
  await settled(onlooker);
  expect(hands.leases).toEqual([]);
  expect(callee.problems).toEqual([]);
  expect(await caller.broker.caller('orders').find(id)).toMatchObject({ kind: 'finished' });
});

async function store(): Promise<string> {
  const log = caller.broker.caller('orders');
  const id = log.newCallId('payments');
  expect(await log.store(sampleAction(id))).toEqual({ kind: 'accepted' });
  return id;
}
