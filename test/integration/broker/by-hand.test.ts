import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readCallId, serviceHint } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { importsIn } from '../../support/source-imports.ts';
import type { Lease } from '../../../sidecar/broker/port.ts';
import { type ActionByHand, answerNextCall, callByHand, publishByHand, subscribeByHand } from './by-hand.ts';
import { answered, Hands, type Onlooker, openBroker, openOnlooker, sampleAction } from './jetstream.ts';

let server: NatsServer;
/** The plain client of the programs without a sidecar. */
let plain: Onlooker;

beforeEach(async () => {
  server = await startNatsServer();
  plain = await openOnlooker(server.url);
});

afterEach(async () => {
  await plain[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

describe('with nothing but a NATS client and sidecar/docs/events.md', () => {
  test('a service answers a call, and the caller’s sidecar has the answer', async () => {
    await using caller = await openBroker(server.url);
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const { response } = log.await(id);
    // What the callee's sidecar would have made beforehand.
    await plain.manager.streams.add({ name: 'holdline_attempts_payments', subjects: ['holdline.att.payments.>'] });
    await log.store(sampleAction(id, { trace: { traceparent } }));
    let seen: ActionByHand | undefined;
    const body = Uint8Array.from([0, 255, 10, 13]);
    await answerNextCall(plain.nc, 'payments', (action) => {
      seen = action;
      return { status: 201, reason: 'Créé', headers: ['X-Paid', 'yes', 'x-paid', 'again'], body };
    });
    expect(seen?.head).toMatchObject({ method: 'POST', target: '/charges?x=1', caller: 'orders', round: 1 });
    expect(Buffer.from(seen?.body ?? []).toString()).toBe('{"amount":5}');
    expect(seen?.headers).toMatchObject({ 'Holdline-Call-Id': id, 'ce-type': 'holdline.action.v1', traceparent });
    const { answer, ...event } = await response;
    expect(answer).toMatchObject({ status: 201, reason: 'Créé', headers: ['X-Paid', 'yes', 'x-paid', 'again'] });
    expect([...(answer?.body ?? [])]).toEqual([...body]);
    expect(event).toMatchObject({ outcome: 'answered', call: { id, service: 'payments' } });
    expect(await log.find(id)).toMatchObject({ kind: 'finished', response: { fingerprint: 'f' } });
    await eventually(async () => expect(await plain.messages('holdline_actions_payments')).toBe(0), {
      what: 'the call to be settled',
    });
  });

  test('a service makes a call, and gets the answer that the callee’s sidecar stored', async () => {
    await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
    const hands = new Hands(callee.broker);
    const call = callByHand(plain.nc, 'accounting', 'payments', Buffer.from('five euros'));
    const lease = await hands.next();
    expect(lease.action).toMatchObject({ caller: 'accounting', target: '/charges', round: 1, hasBody: true });
    expect(Buffer.from(lease.action.body).toString()).toBe('five euros');
    expect(readCallId(lease.action.id)).toEqual({ keyed: false, hint: serviceHint('payments'), instance: '0be4a' });
    expect(await lease.start(1)).toBe('started');
    await lease.finish(answered(lease, 'thanks'));
    const { id, head, body } = await call;
    expect(id).toBe(lease.action.id);
    expect(head).toMatchObject({ v: 1, outcome: 'answered', answer: { status: 201 } });
    expect(Buffer.from(body).toString()).toBe('thanks');
    expect(await callee.broker.operator.call(id)).toMatchObject({ state: 'answered', status: 201 });
  });

  test('a service subscribes to what others broadcast, and publishes to their subscriptions', async () => {
    const next = await subscribeByHand(plain.nc);
    await using orders = await openBroker(server.url);
    const log = orders.broker.publisher('orders');
    const publish = async (topic: string, text: string) => {
      const id = log.newEventId();
      const event = { id, topic, publisher: 'orders', route: 'r', headers: ['X-A', '1'], at: Date.now() };
      expect(await log.publish({ ...event, body: Buffer.from(text), hasBody: true, fingerprint: 'f' })).toEqual({
        kind: 'stored',
      });
      return id;
    };
    await publish('stock.low', 'not wanted');
    const sent = [await publish('order', 'one'), await publish('order.paid', 'two')];
    for (const [index, topic] of ['order', 'order.paid'].entries()) {
      const { head, body, headers } = await next();
      expect(head).toMatchObject({ v: 1, id: sent[index], topic, publisher: 'orders', headers: ['X-A', '1'] });
      expect(headers).toMatchObject({ 'ce-id': sent[index], 'ce-type': topic, 'ce-source': '/services/orders' });
      expect(Buffer.from(body).toString()).toBe(['one', 'two'][index]);
    }

    await using mail = await openBroker(server.url, { service: 'mail', instance: 'mail-1' });
    const came: Lease[] = [];
    const taking = mail.broker.subscriber('mail').subscribe({
      name: 'all',
      topic: 'ledger.*',
      from: { kind: 'first' },
      target: () => ({ method: 'POST', path: '/hook', retry: { attempts: 1, backoff: { min: 1, max: 1 }, on: [] } }),
      free: () => 8 - came.length,
      deliver: (lease) => came.push(lease),
      report: (error) => mail.problems.push(error),
    });
    taking.resume();
    const id = await publishByHand(plain.nc, 'ledger', 'ledger.closed', Buffer.from('three'));
    await eventually(() => expect(came).toHaveLength(1), { what: 'the event by hand' });
    const { action } = came[0]!;
    expect(action).toMatchObject({ caller: 'ledger', service: 'mail', target: '/hook', hasBody: true });
    expect(action.delivery).toEqual({ subscription: 'all', event: id, topic: 'ledger.closed' });
    expect(Buffer.from(action.body).toString()).toBe('three');
    expect(action.headers).toEqual(expect.arrayContaining(['Content-Type', 'text/plain', 'ce-id', id]));
    await came[0]!.finish(answered(came[0]!));
    await eventually(async () => expect(await taking.backlog()).toEqual({ waiting: 0 }), { what: 'it to be settled' });
    // Published twice, stored once.
    expect(await plain.messages('holdline_broadcasts')).toBe(4);
  });
});

test('those programs use nothing of Holdline', async () => {
  const source = await readFile(new URL('by-hand.ts', import.meta.url), 'utf8');
  expect(source).toContain("from '@nats-io/jetstream'");
  expect(importsIn(source)).toEqual([]);
});
