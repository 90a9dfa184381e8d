import { afterEach, beforeEach, expect, test } from 'vitest';
import type { Lease } from '../../../sidecar/broker/port.ts';
import { conclude, type ActionEvent } from '../../../sidecar/model/call.ts';
import { encodeAction, encodeResponse } from '../../../sidecar/model/codec.ts';
import { Subjects } from '../../../sidecar/broker/jetstream/subjects.ts';
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

const subjects = new Subjects('holdline');

let server: NatsServer;
let onlooker: Onlooker;
let orders: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  orders = await openBroker(server.url);
});

afterEach(async () => {
  await orders[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function store(): Promise<ActionEvent> {
  const log = orders.broker.caller('orders');
  const callback = { method: 'POST', target: '/charge-done' };
  const action = sampleAction(log.newCallId('payments'), { callback, idempotent: true });
  await log.store(action);
  return action;
}

async function settled(stream: string): Promise<void> {
  await eventually(async () => expect(await onlooker.messages(stream)).toBe(0), { what: `${stream} to be empty` });
}

test('who stored the response died before anybody was told: the next one to look tells it, and settles the call', async () => {
  const action = await store();
  const answer = { status: 201, reason: 'Created', headers: [], trailers: [], body: Buffer.from('from the dead') };
  const attempts = [{ attempt: 1, evidence: 'answered', status: 201, instance: 'dead' } as const];
  const response = conclude(action, { attempts, answer }, 'answered', Date.now());
  await onlooker.nc.request(subjects.response('orders', action.id), encodeResponse(response), { timeout: 20_000 });
  await using payments = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
  const leases: Lease[] = [];
  const taking = payments.broker.callee('payments').take({
    free: () => 1,
    deliver: (lease) => leases.push(lease),
    report: () => undefined,
    publishCalls: () => true,
  });
  taking.resume();
  const lease = await new Hands(orders.broker, { service: 'orders' }).next('the callback');
  expect(lease.action).toMatchObject({ target: '/charge-done', answerTo: { id: action.id, status: 201 } });
  expect(Buffer.from(lease.action.body).toString()).toBe('from the dead');
  await settled('holdline_actions_payments');
  expect(leases).toEqual([]);
  expect(await onlooker.messages('holdline_broadcasts')).toBe(1);
  await lease.finish(answered(lease));
});

test('a callback that was carried out does not run again when its call is delivered once more', async () => {
  const action = await store();
  {
    await using payments = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
    await using first = await openBroker(server.url, { instance: 'orders-2' });
    const lease = await new Hands(payments.broker).next();
    await lease.finish(answered(lease));
    const told = await new Hands(first.broker, { service: 'orders' }).next('the callback');
    await told.finish(answered(told));
    await settled('holdline_actions_payments');
    await settled('holdline_actions_orders');
  }
  // A restart makes the server forget the ids of settled messages; here its memory of the acknowledgement is lost, too.
  await server.kill9();
  await server.restart();
  await eventually(() => expect(orders.broker.status.connected).toBe(true), { what: 'orders to be back' });
  // Clients come back one by one, and what one sends before it is back is dropped.
  await eventually(() => onlooker.nc.flush(), { what: 'the onlooker to be back' });
  const copy = encodeAction(action);
  await onlooker.nc.request(subjects.action('payments', 'orders', action.id), copy, { timeout: 20_000 });
  await using payments = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
  const own = new Hands(orders.broker, { service: 'orders' });
  const again = new Hands(payments.broker);
  await settled('holdline_actions_payments');
  expect(again.leases).toEqual([]);
  const marker = await store();
  await again.next().then((lease) => lease.finish(answered(lease, 'marker')));
  expect((await own.next('the callback of the marker')).action.answerTo?.id).toBe(marker.id);
});
