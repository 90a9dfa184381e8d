import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { CONSUMER, consumerConfig } from '../../../sidecar/broker/jetstream/consumer.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import {
  answered,
  Hands,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

/*
 * A nats-server that is killed, or whose disk was full, can come back with a consumer whose acknowledgement floor is
 * above messages that are still in the stream. It then never delivers them. The tests bring about that state on disk:
 * they put the messages of the stream back to what they were before they were acknowledged, and leave the consumer.
 */

const stream = 'holdline_actions_payments';

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
  await forgetting(acknowledge);
  await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
  const hands = new Hands(callee.broker, { slots: ids.length });
  for (const id of ids) {
    const lease = await hands.next(`${id} to be delivered after all`, 30_000);
    expect(lease.action.id).toBe(id);
    await lease.start(1);
    await lease.finish(answered(lease));
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({ kind: 'finished' });
  }
  await settled();
  expect(hands.leases).toHaveLength(ids.length);
  const told = callee.problems.map(({ message }) => message).filter((message) => message.includes('had forgotten'));
  expect(told).toEqual(ids.map((id) => expect.stringContaining(id) as string));
});

test('a call that is answered is only cleared away', async () => {
  const id = await store();
  await forgetting(async () => {
    await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
    const lease = await new Hands(callee.broker).next();
    await lease.start(1);
    await lease.finish(answered(lease));
    await settled();
  });
  await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
  const hands = new Hands(callee.broker);
  await settled();
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

/** Has the calls settled, and makes the stream, but not its consumer, forget that. */
async function forgetting(settle: () => Promise<void>): Promise<void> {
  await onlooker.manager.consumers.add(stream, consumerConfig);
  const before = await onlooker.messages(stream);
  const messages = join(server.storeDir, 'jetstream', '$G', 'streams', stream, 'msgs');
  await server.stop();
  await cp(messages, `${messages}.kept`, { recursive: true });
  await restart();
  await settle();
  await server.stop();
  await rm(messages, { recursive: true });
  await rename(`${messages}.kept`, messages);
  await restart();
  const { state } = await onlooker.manager.streams.info(stream);
  const { ack_floor: floor, num_pending: pending } = await onlooker.manager.consumers.info(stream, CONSUMER);
  // Without this the test would prove nothing.
  expect({ messages: state.messages, pending, floor: floor.stream_seq }).toEqual({
    messages: before,
    pending: 0,
    floor: state.last_seq,
  });
}

/** Acknowledges all that is there, as a callee that is done with it. */
async function acknowledge(): Promise<void> {
  const consumer = await jetstream(onlooker.nc).consumers.get(stream, CONSUMER);
  for (let left = await onlooker.messages(stream); left > 0; left--) {
    const message = await consumer.next();
    expect(await message?.ackAck()).toBe(true);
  }
}

async function settled(): Promise<void> {
  await eventually(async () => expect(await onlooker.messages(stream)).toBe(0), {
    what: 'the stream of actions to be empty',
    timeoutMs: 30_000,
  });
}

async function restart(): Promise<void> {
  await server.restart();
  await eventually(
    async () => {
      await onlooker.nc.flush();
      expect(caller.broker.status.connected).toBe(true);
    },
    { what: 'the clients to be back', timeoutMs: 30_000 },
  );
}
