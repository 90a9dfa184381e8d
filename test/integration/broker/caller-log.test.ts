import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { conclude, nextRound, noProgress } from '../../../sidecar/model/call.ts';
import { keyedCallId } from '../../../sidecar/model/call-id.ts';
import { encodeResponse } from '../../../sidecar/model/codec.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts';
import {
  answered,
  Hands,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

const ACTIONS = 'holdline_actions_payments';

let server: NatsServer;
let relay: TcpRelay;
let onlooker: Onlooker;
/** Its connection goes through the relay. */
let caller: OpenBroker;
let callee: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  relay = await startTcpRelay(server.port);
  onlooker = await openOnlooker(server.url);
  caller = await openBroker(`nats://127.0.0.1:${relay.port}`);
  callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await callee[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await relay[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function disconnected(open: OpenBroker = caller): Promise<void> {
  await eventually(() => expect(open.broker.status.connected).toBe(false), { what: 'the loss to be seen' });
}

describe('storing', () => {
  test('makes the stream', async () => {
    const log = caller.broker.caller('orders');
    expect(await log.store(sampleAction(log.newCallId('payments')))).toEqual({ kind: 'accepted' });
    const { config } = await onlooker.manager.streams.info(ACTIONS);
    expect(config).toMatchObject({ retention: 'workqueue', discard: 'new', storage: 'file' });
  });

  test('says at once that the broker is away, and stores nothing', async () => {
    const log = caller.broker.caller('orders');
    await log.store(sampleAction(log.newCallId('payments')));
    await relay.cut();
    await disconnected();
    await expect(log.store(sampleAction(log.newCallId('payments')))).rejects.toThrow(BrokerUnavailable);
    await relay.heal();
    await eventually(() => expect(caller.broker.status.connected).toBe(true), { what: 'the connection' });
    expect(await log.store(sampleAction(log.newCallId('payments')))).toEqual({ kind: 'accepted' });
    expect(await onlooker.messages(ACTIONS)).toBe(2);
  });

  test('goes on over kill -9 of the broker in between, and stores one action', async () => {
    const log = caller.broker.caller('orders');
    await log.store(sampleAction(log.newCallId('payments')));
    relay.stall('to-client');
    const stored = log.store(sampleAction(log.newCallId('payments')));
    await eventually(async () => expect(await onlooker.messages(ACTIONS)).toBe(2), { what: 'the action' });
    await server.kill9();
    await relay.cut();
    await server.restart();
    await relay.heal();
    expect(await stored).toEqual({ kind: 'accepted' });
    expect(await onlooker.messages(ACTIONS)).toBe(2);
  });

  test('again after the call was carried out, because the acknowledgement got lost, does not carry it out twice', async () => {
    const log = caller.broker.caller('orders');
    const hands = new Hands(callee.broker, { slots: 5 });
    relay.stall('to-client');
    const id = log.newCallId('payments');
    const stored = log.store(sampleAction(id));
    const lease = await hands.next();
    await lease.start(1);
    await lease.finish(answered(lease));
    await eventually(async () => expect(await onlooker.messages(ACTIONS)).toBe(0), { what: 'the call to be settled' });
    // By now the server has forgotten the message id of what was acknowledged.
    await server.kill9();
    await relay.cut();
    await server.restart();
    await relay.heal();
    expect(await stored).toEqual({ kind: 'accepted' });
    await eventually(async () => expect(await onlooker.messages(ACTIONS)).toBe(0), { what: 'the rest to be settled' });
    expect(hands.leases).toHaveLength(1);
  });
});

describe('an awaited response', () => {
  test('comes although its announcement was missed before the wait began', async () => {
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    await log.store(sampleAction(id));
    const lease = await new Hands(callee.broker).next();
    await lease.finish(answered(lease, 'early'));
    const { answer } = await log.await(id).response;
    expect(Buffer.from(answer?.body ?? []).toString()).toBe('early');
  });

  test('comes although the caller was cut off when it was announced', async () => {
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    const { response } = log.await(id);
    await log.store(sampleAction(id));
    await relay.cut();
    await disconnected();
    const lease = await new Hands(callee.broker).next();
    await lease.finish(answered(lease, 'late'));
    await relay.heal();
    expect((await response).outcome).toBe('answered');
  });

  test('of a key comes to every instance that awaits it', async () => {
    const scope = { caller: 'orders', service: 'payments', method: 'POST', path: '/charges', key: 'k' };
    const id = keyedCallId(scope);
    await using second = await openBroker(server.url, { instance: 'orders-2' });
    const waits = [caller, second].map((open) => open.broker.caller('orders').await(id).response);
    await caller.broker.caller('orders').store(sampleAction(id, { keyed: true }));
    const lease = await new Hands(callee.broker).next();
    await lease.finish(answered(lease));
    expect((await Promise.all(waits)).map((response) => response.outcome)).toEqual(['answered', 'answered']);
  });
});

describe('the next round of a call', () => {
  const id = keyedCallId({ caller: 'orders', service: 'payments', method: 'POST', path: '/charges', key: 'k' });

  test('is stored although the round before, which has its response, is not settled yet', async () => {
    const log = caller.broker.caller('orders');
    const first = sampleAction(id, { keyed: true });
    await log.store(first);
    // As if the callee's sidecar had died between its last two writes.
    const response = conclude(first, noProgress, 'exhausted', Date.now());
    await onlooker.nc.request(`holdline.key.orders.res.${id}`, encodeResponse(response), { timeout: 20_000 });
    expect(await onlooker.messages(ACTIONS)).toBe(1);
    const second = nextRound(first, response.attempts, Date.now());
    const { response: awaited } = log.await(id);
    expect(await log.store(second)).toEqual({ kind: 'accepted' });
    const next = await new Hands(callee.broker).next();
    expect(next.action.round).toBe(2);
    await next.finish(answered(next));
    expect(await awaited).toMatchObject({ outcome: 'answered', call: { round: 2 } });
  });
});

test('a delivery whose mark the broker does not take yet is known here at once, and elsewhere once it is stored', async () => {
  const id = keyedCallId({ caller: 'orders', service: 'payments', method: 'POST', path: '/charges', key: 'k' });
  const log = caller.broker.caller('orders');
  await using other = await openBroker(server.url, { instance: 'orders-2' });
  await log.store(sampleAction(id, { keyed: true }));
  const lease = await new Hands(callee.broker).next();
  await lease.finish(answered(lease));
  const keyed = 'holdline_keyed_orders';
  const { config } = await onlooker.manager.streams.info(keyed);
  await onlooker.manager.streams.update(keyed, { ...config, max_msgs: 1, discard: 'new' });
  log.markDelivered(id, 1);
  await eventually(() => expect(caller.problems.map(String).join()).toContain(`had.${id}`), { what: 'the refusal' });
  expect(await log.find(id)).toMatchObject({ kind: 'finished', delivered: true });
  expect(await other.broker.caller('orders').find(id)).toMatchObject({ kind: 'finished', delivered: false });
  await onlooker.manager.streams.update(keyed, { ...config, max_msgs: -1 });
  await eventually(
    async () => expect(await other.broker.caller('orders').find(id)).toMatchObject({ delivered: true }),
    { what: 'the mark' },
  );
});

test('a retention shorter than the time in which the server knows duplicates is kept', async () => {
  await using brief = await openBroker(server.url, { service: 'brief', retention: { responses: 60_000 } });
  const log = brief.broker.caller('brief');
  const id = log.newCallId('payments');
  const { response } = log.await(id);
  await log.store(sampleAction(id, { caller: 'brief' }));
  const lease = await new Hands(callee.broker).next();
  await lease.finish(answered(lease));
  expect((await response).outcome).toBe('answered');
  const age = async () => (await onlooker.manager.streams.info('holdline_responses_brief')).config.max_age;
  await eventually(async () => expect(await age()).toBe(60_000 * 1_000_000), { what: 'the retention' });
});
