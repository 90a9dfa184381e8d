import { describe, expect, test } from 'vitest';
import type { ResponseEvent } from '../../../sidecar/model/call.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, answered, givenUp, keyedId, plain, textOf } from '../events.ts';
import { Hands, storeAll, useStage } from '../stage.ts';

export function awaiting(candidate: Candidate): void {
  describe('awaiting a response', () => {
    const stage = useStage(candidate);

    test('it arrives with every field and every byte', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const action = anAction({ id: log.newCallId('payments') });
      const awaited = log.await(action.id);
      await storeAll(log, [action]);
      const lease = await hands.next();
      const response: ResponseEvent = {
        ...answered(lease.action, ''),
        answer: anAnswer('', {
          status: 299,
          reason: 'Caf\u00e9',
          headers: ['X-Twice', '1', 'x-twice', '2', 'X-Latin', '\u00ff'],
          trailers: ['X-Sum', 'abc'],
          body: Uint8Array.from({ length: 256 }, (_, byte) => 255 - byte),
        }),
        attempts: [anAttempt(1, 'retry-status', { status: 503 }), anAttempt(2, 'answered', { status: 299 })],
        trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
      };
      await hands.finish(lease, response);
      expect(plain(await awaited.response)).toEqual(plain(response));
    });

    test('any instance of the caller may await it, before, while and after the call is open', async () => {
      const orders = await stage.open('orders', 'orders-1');
      const other = await stage.open('orders', 'orders-2');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const otherLog = other.caller('orders');
      const action = anAction({ id: log.newCallId('payments') });
      const before = otherLog.await(action.id);
      await storeAll(log, [action]);
      const meanwhile = otherLog.await(action.id);
      await hands.answer(await hands.next(), 'for all');
      const after = [otherLog.await(action.id), log.await(action.id)];
      const responses = await Promise.all([before, meanwhile, ...after].map((awaited) => awaited.response));
      expect(responses.map(textOf)).toEqual(['for all', 'for all', 'for all', 'for all']);
    });

    test('one who lets go does not take the response from others who await it', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const action = anAction({ id: log.newCallId('payments') });
      const [left, stays] = [log.await(action.id), log.await(action.id)];
      await storeAll(log, [action]);
      left.release();
      left.release();
      await hands.answer(await hands.next(), 'still here');
      expect(textOf(await stays.response)).toBe('still here');
    });

    test('the response of an earlier round does not answer the next one', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments');
      const log = orders.caller('orders');
      const action = anAction({ id: keyedId('next round'), keyed: true });
      await storeAll(log, [action]);
      await hands.finish(await hands.next(), givenUp(action, 'exhausted'));
      expect(textOf(await log.await(action.id).response)).toBeUndefined();
      const awaited = log.await(action.id);
      const stored = log.store({ ...action, round: 2 });
      expect(await stored).toEqual({ kind: 'accepted' });
      await hands.answer(await hands.next(), 'the second');
      expect(textOf(await awaited.response)).toBe('the second');
    });

    test('of many calls at once each gets its own', async () => {
      const orders = [await stage.open('orders', 'orders-1'), await stage.open('orders', 'orders-2')];
      const payments = await stage.open('payments');
      const hands = Hands.open(payments, 'payments', 1_000);
      const calls = Array.from({ length: 200 }, async (_, i) => {
        const log = orders[i % 2]!.caller('orders');
        const id = log.newCallId('payments');
        const awaited = log.await(id);
        await storeAll(log, [anAction({ id })]);
        expect(textOf(await awaited.response)).toBe(`answer to ${id}`);
      });
      const work = calls.map(async () => {
        const lease = await hands.next();
        await hands.answer(lease, `answer to ${lease.action.id}`);
      });
      await Promise.all([...calls, ...work]);
    });
  });
}
