import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CONSUMER } from '../../../sidecar/broker/jetstream/consumer.ts';
import { conclude } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { ManagedProcess } from '../../support/managed-process.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startTcpRelay } from '../../support/tcp-relay.ts';
import {
  answered,
  Hands,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

const script = fileURLToPath(new URL('holder.ts', import.meta.url));

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

async function holder(what: 'hold' | 'start'): Promise<ManagedProcess> {
  return await ManagedProcess.start({
    label: `holder (${what})`,
    command: process.execPath,
    args: [script, server.url, 'payments-1', what],
  });
}

async function store(idempotent: boolean): Promise<string> {
  const log = caller.broker.caller('orders');
  const id = log.newCallId('payments');
  expect(await log.store(sampleAction(id, { idempotent }))).toEqual({ kind: 'accepted' });
  return id;
}

describe('broker and holder are killed together', () => {
  test('while an attempt is running: the next delivery knows of it, though the server has forgotten', async () => {
    const id = await store(false);
    await using first = await holder('start');
    await first.printed(new RegExp(`started ${id}`));
    await Promise.all([server.kill9(), first.kill9()]);
    await server.restart();
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const hands = new Hands(second.broker);
    const lease = await hands.next('the call to be delivered again', 20_000);
    expect(lease.action.id).toBe(id);
    expect(lease.progress.started).toMatchObject({ attempt: 1, instance: 'payments-1' });
    const response = conclude(lease.action, lease.progress, 'outcome-unknown', Date.now());
    await lease.finish(response);
    expect(hands.leases).toHaveLength(1);
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({
      kind: 'finished',
      response: { outcome: 'outcome-unknown' },
    });
  });

  test('after the call was settled: it does not run again', async () => {
    const id = await store(false);
    {
      await using first = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
      const lease = await new Hands(first.broker).next();
      await lease.start(1);
      await lease.finish(answered(lease));
      await server.kill9();
    }
    await server.restart();
    // Whatever the server remembers of the acknowledgement, here the action is stored once more.
    await eventually(() => expect(caller.broker.status.connected).toBe(true), { what: 'the caller to be back' });
    await caller.broker.caller('orders').store(sampleAction(id));
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const hands = new Hands(second.broker);
    await eventually(async () => expect(await onlooker.messages('holdline_actions_payments')).toBe(0), {
      what: 'the action to be settled',
      timeoutMs: 30_000,
    });
    expect(hands.leases).toEqual([]);
  });
});

describe('the broker is killed and its clients come back one after another', () => {
  test('a call that has been sent is left to the one that sent it', async () => {
    await using relay = await startTcpRelay(server.port);
    await using first = await openBroker(`nats://127.0.0.1:${relay.port}`, {
      service: 'payments',
      instance: 'payments-1',
    });
    const id = await store(false);
    const lease = await new Hands(first.broker).next();
    expect(await lease.start(1)).toBe('started');
    await server.kill9();
    await relay.cut();
    await server.restart();
    await eventually(() => onlooker.nc.flush(), { what: 'the broker to be back' });
    const info = () => onlooker.manager.consumers.info('holdline_actions_payments', CONSUMER);
    const { num_ack_pending: remembered, delivered } = await info();
    // A newer server remembers the delivery, and makes the next one when its time is over; it is told to do so now.
    if (remembered > 0) onlooker.nc.publish(`$JS.ACK.holdline_actions_payments.${CONSUMER}.1.1.1.0.0`, '-NAK');
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const { taking } = new Hands(second.broker);
    await eventually(
      async () => expect((await info()).delivered.consumer_seq).toBeGreaterThan(delivered.consumer_seq + 1),
      { what: 'the call to be given back, and delivered once more' },
    );
    await relay.heal();
    taking.pause();
    await lease.finish(answered(lease));
    await eventually(async () => expect(await onlooker.messages('holdline_actions_payments')).toBe(0), {
      what: 'the action to be settled',
      timeoutMs: 30_000,
    });
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({
      kind: 'finished',
      response: { outcome: 'answered' },
    });
  });
});
