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

test('a consumer that is ahead of what the stream has lost lets nothing pass', async () => {
  const ids = [await store()];
  await forgetting({ server, onlooker, caller }, async () => {
    // Far more than the few calls below, stored again and again, would get past.
    for (let n = 0; n < 50; n++) await store();
    await acknowledge(onlooker);
  });
  ids.push(await store());
  await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
  const hands = new Hands(callee.broker, { slots: 2 });
  for (const id of ids) {
    const lease = await hands.next(`${id} to be delivered after all`, 30_000);
    expect(lease.action.id).toBe(id);
    await lease.start(1);
    await lease.finish(answered(lease));
  }
  await settled(onlooker);
  expect(callee.problems.map(({ message }) => message)).toContainEqual(expect.stringContaining('made anew'));
});

async function store(): Promise<string> {
  const log = caller.broker.caller('orders');
  const id = log.newCallId('payments');
  expect(await log.store(sampleAction(id))).toEqual({ kind: 'accepted' });
  return id;
}
