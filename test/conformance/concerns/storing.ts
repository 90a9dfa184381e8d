import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt, givenUp, keyedId, plain, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

export function storing(candidate: Candidate): void {
  describe('storing an action', () => {
    const stage = useStage(candidate);

    test('every field and every byte arrives as it was stored', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const everything = anAction({
        id: log.newCallId('payments'),
        method: 'PROPFIND',
        target: '/a%20b?x=1&x=2&%00',
        headers: ['hOsT', 'payments:80', 'X-Twice', '1', 'x-twice', '2', 'X-Latin', 'caf\u00e9 \u00ff', 'X-Empty', ''],
        trailers: ['X-Sum', 'abc'],
        body: Uint8Array.from({ length: 256 }, (_, byte) => byte),
        idempotent: true,
        earlier: [anAttempt(1, 'no-answer', { detail: 'reset "quoted" \u{1f4a5}' })],
        idempotencyKey: '"a key"',
        trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', tracestate: 'a=b' },
      });
      const bare = anAction({ id: log.newCallId('payments'), body: new Uint8Array(0), hasBody: false, headers: [] });
      const empty = anAction({ id: log.newCallId('payments'), body: new Uint8Array(0), hasBody: true });
      await storeAll(log, [everything, bare, empty]);
      const actions = new Map([everything, bare, empty].map((action) => [action.id, action]));
      for (let i = 0; i < 3; i++) {
        const lease = await hands.next();
        const action = actions.get(lease.action.id)!;
        expect(plain(lease.action)).toEqual(plain(action));
        expect(lease.progress).toEqual({ attempts: [] });
        expect(lease.unaccounted).toBe(0);
        await hands.answer(lease, 'done');
      }
    });

    test('a body as large as one event takes arrives whole', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const size = Math.min(orders.maxInlineBody, 4 * 1024 * 1024);
      const body = Buffer.alloc(size, 'holdline ');
      const action = anAction({ id: log.newCallId('payments'), body });
      const awaited = log.await(action.id);
      await storeAll(log, [action]);
      const lease = await hands.next();
      expect(Buffer.compare(lease.action.body, body)).toBe(0);
      const answer = await hands.answer(lease, 'x'.repeat(Math.min(payments.maxInlineBody, size)));
      const response = await awaited.response;
      expect(textOf(response)?.length).toBe(answer.answer?.body.length);
    });

    test('the same id again is open, whoever asks, and is delivered once', async () => {
      const first = await stage.open('orders', 'orders-1');
      const second = await stage.open('orders', 'orders-2');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const action = anAction({ id: keyedId('again'), keyed: true, fingerprint: 'the first' });
      await storeAll(first.caller('orders'), [action]);
      const lease = await hands.next();
      const again = { ...action, fingerprint: 'the second' };
      expect(await first.caller('orders').store(again)).toEqual({ kind: 'open', fingerprint: 'the first' });
      expect(await second.caller('orders').store(again)).toEqual({ kind: 'open', fingerprint: 'the first' });
      await hands.answer(lease, 'once');
      // The marker is behind anything that the second store could have put on the log.
      const marker = anAction({ id: keyedId('marker'), keyed: true });
      await storeAll(first.caller('orders'), [marker]);
      expect((await hands.next()).action.id).toBe(marker.id);
    });

    test('the same id after its answer is finished, with the stored answer', async () => {
      const first = await stage.open('orders', 'orders-1');
      const second = await stage.open('orders', 'orders-2');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const action = anAction({ id: keyedId('finished'), keyed: true });
      await storeAll(first.caller('orders'), [action]);
      const response = await hands.answer(await hands.next(), 'the answer');
      for (const broker of [first, second]) {
        const stored = await broker.caller('orders').store(action);
        expect(stored.kind).toBe('finished');
        expect(stored.kind === 'finished' && plain(stored.response)).toEqual(plain(response));
      }
    });

    test('of many who store one key at once one is accepted, and the call runs once', async () => {
      const brokers = [await stage.open('orders', 'orders-1'), await stage.open('orders', 'orders-2')];
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const action = anAction({ id: keyedId('race'), keyed: true });
      const stores = Array.from({ length: 16 }, (_, i) => brokers[i % 2]!.caller('orders').store(action));
      const kinds = (await Promise.all(stores)).map((stored) => stored.kind);
      expect(kinds.filter((kind) => kind === 'accepted')).toHaveLength(1);
      expect(kinds.filter((kind) => kind === 'open')).toHaveLength(15);
      await hands.answer(await hands.next(), 'once');
      await storeAll(brokers[0]!.caller('orders'), [anAction({ id: keyedId('race marker'), keyed: true })]);
      expect((await hands.next()).action.id).toBe(keyedId('race marker'));
    });

    test('the next round of a dead letter starts the call again, and its answer is the one that is found then', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const action = anAction({ id: keyedId('rounds'), keyed: true });
      await storeAll(log, [action]);
      const tried = [anAttempt(1, 'retry-status', { status: 503 })];
      await hands.finish(await hands.next(), givenUp(action, 'exhausted', { attempts: tried }));
      expect(await log.store(action)).toMatchObject({ kind: 'finished', response: { outcome: 'exhausted' } });

      const next = { ...action, round: 2, earlier: tried };
      await storeAll(log, [next]);
      expect(await orders.operator.deadLetter(action.id)).toBeUndefined();
      expect(await log.store(next)).toMatchObject({ kind: 'open' });
      expect(await log.store(action)).toMatchObject({ kind: 'open' });
      const lease = await hands.next();
      expect(plain(lease.action)).toEqual(plain(next));
      expect(await log.find(action.id)).toMatchObject({ kind: 'open', call: { round: 2 } });
      expect(await log.find(action.id, 'payments')).toMatchObject({ kind: 'open', call: { round: 2 } });

      const response = await hands.answer(lease, 'at last');
      const found = await log.find(action.id);
      expect(found?.kind === 'finished' && plain(found.response)).toEqual(plain(response));
      expect(await log.store(next)).toMatchObject({ kind: 'finished', response: { outcome: 'answered' } });
      expect(await orders.operator.deadLetters({ limit: 10 })).toEqual([]);
    });

    test('a call that is not known is not found, and no service sees the calls of another', async () => {
      const orders = await stage.open('orders');
      const others = await stage.open('refunds');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const strange = others.caller('refunds');
      const action = anAction({ id: log.newCallId('payments') });
      expect(await log.find(action.id)).toBeUndefined();
      expect(await log.find(action.id, 'payments')).toBeUndefined();
      await storeAll(log, [action]);
      expect(await log.find(action.id)).toMatchObject({ kind: 'open', call: { id: action.id }, fingerprint: 'print' });
      expect(await log.find(action.id, 'payments')).toMatchObject({
        kind: 'open',
        call: { id: action.id },
        fingerprint: 'print',
      });
      expect(await strange.find(action.id)).toBeUndefined();
      await hands.answer(await hands.next(), 'mine');
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished' });
      expect(await log.find(action.id, 'payments')).toMatchObject({ kind: 'finished' });
      expect(await strange.find(action.id)).toBeUndefined();
      expect(await strange.withdraw(action.id, 'cancelled')).toBe('unknown');
    });

    test('what a caller has had is remembered, also by other instances', async () => {
      const orders = await stage.open('orders', 'orders-1');
      const other = await stage.open('orders', 'orders-2');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const action = anAction({ id: keyedId('delivered'), keyed: true });
      await storeAll(log, [action]);
      await hands.answer(await hands.next(), 'yours');
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: false });
      expect(await log.find(action.id, 'payments')).toMatchObject({ kind: 'finished', delivered: false });
      log.markDelivered(action.id, 1);
      // A write of the same process that is answered after the mark was made.
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      await expectSoon(() => other.caller('orders').find(action.id)).toMatchObject({
        kind: 'finished',
        delivered: true,
      });
    });
  });
}
