import { readFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readCallId, serviceHint } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { importsIn } from '../../support/source-imports.ts';
import { type ActionByHand, answerNextCall, callByHand } from './by-hand.ts';
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
});

test('those programs use nothing of Holdline', async () => {
  const source = await readFile(new URL('by-hand.ts', import.meta.url), 'utf8');
  expect(source).toContain("from '@nats-io/jetstream'");
  expect(importsIn(source)).toEqual([]);
});
