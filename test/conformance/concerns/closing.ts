import { describe, expect, test } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import type { Candidate } from '../backend.ts';
import { anAction, textOf } from '../events.ts';
import { Hands, storeAll, useStage } from '../stage.ts';

export function closing(candidate: Candidate): void {
  describe('closing', () => {
    const stage = useStage(candidate);

    test('what was being stored is either accepted and there, or refused and not there', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      const stores = Array.from({ length: 50 }, async () => {
        const id = log.newCallId('payments');
        const stored = await log.store(anAction({ id })).catch((error: unknown) => error);
        return { id, stored };
      });
      await orders.close(5_000);
      const results = await Promise.all(stores);
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const accepted = results.filter(({ stored }) => !(stored instanceof Error));
      for (const { stored } of results) {
        if (stored instanceof Error) expect(stored).toBeInstanceOf(BrokerUnavailable);
        else expect(stored).toEqual({ kind: 'accepted' });
      }
      const came = new Set<string>();
      for (let i = 0; i < accepted.length + 1; i++) came.add((await hands.next()).action.id);
      for (const { id } of accepted) expect(came).toContain(id);
      expect(await hands.taking.backlog()).toMatchObject({ waiting: accepted.length + 1 });
    });

    test('an answer that is being stored is stored', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments');
      const action = anAction({ id: log.newCallId('payments') });
      const awaited = log.await(action.id);
      await storeAll(log, [action]);
      const finished = hands.answer(await hands.next(), 'just in time');
      await payments.close(5_000);
      await finished;
      expect(textOf(await awaited.response)).toBe('just in time');
    });

    test('what is in hand when an instance closes goes to another one', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments', 'payments-1');
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments');
      const action = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [action]);
      await hands.next();
      const other = Hands.open(await stage.open('payments', 'payments-2'), 'payments');
      await payments.close(5_000);
      const lease = await other.next();
      expect(lease.action.id).toBe(action.id);
      await other.answer(lease, 'done');
    });

    test('a closed broker refuses, and closing it again does no harm', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      await Promise.all([orders.close(5_000), orders.close(5_000)]);
      await orders.close(5_000);
      await expect(log.store(anAction({ id: log.newCallId('payments') }))).rejects.toThrow(BrokerUnavailable);
      await expect(log.find(log.newCallId('payments'))).rejects.toThrow(BrokerUnavailable);
    });
  });
}
