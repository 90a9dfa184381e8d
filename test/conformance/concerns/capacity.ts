import { describe, expect, test } from 'vitest';
import { type Broker, BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import type { Candidate } from '../backend.ts';
import { anAction, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, testWhere, useStage } from '../stage.ts';

export function capacity(candidate: Candidate): void {
  describe('a backend that is full', () => {
    const stage = useStage(candidate);
    const body = Buffer.alloc(100_000, 'full ');

    /** Stores until it is refused; the calls that were accepted. */
    async function fill(orders: Broker): Promise<Set<string>> {
      const log = orders.caller('orders');
      const accepted = new Set<string>();
      for (;;) {
        const id = log.newCallId('payments');
        try {
          await storeAll(log, [anAction({ id, body })]);
          accepted.add(id);
        } catch (error) {
          expect(error).toBeInstanceOf(BrokerUnavailable);
          expect((error as BrokerUnavailable).retryAfter).toBeGreaterThan(0);
          expect(await log.find(id)).toBeUndefined();
          expect(accepted.size).toBeGreaterThan(5);
          return accepted;
        }
        expect(accepted.size).toBeLessThan(100);
      }
    }

    async function carryOut(orders: Broker, payments: Broker, calls: Set<string>): Promise<void> {
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments', 4);
      while (calls.size > 0) {
        const lease = await hands.next();
        const awaited = log.await(lease.action.id);
        expect(calls.delete(lease.action.id)).toBe(true);
        await lease.start(1);
        await hands.answer(lease, 'there was room for this');
        expect(textOf(await awaited.response)).toBe('there was room for this');
      }
    }

    test('refuses calls and loses nothing: with more room all that it accepted is carried out', async () => {
      await stage.set({ maxBytes: 4 * 1024 * 1024 });
      const orders = await stage.open('orders');
      const accepted = await fill(orders);
      await orders.close(1_000);
      await stage.backend.grow();
      const again = await stage.open('orders');
      await carryOut(again, await stage.open('payments'), accepted);
      const log = again.caller('orders');
      await expectSoon(() => log.store(anAction({ id: log.newCallId('payments'), body })).catch(String)).toEqual({
        kind: 'accepted',
      });
    });

    testWhere(candidate.supports.answersWhileFull)(
      'carries out all that it accepted, and accepts again when there is room',
      async () => {
        await stage.set({ maxBytes: 4 * 1024 * 1024 });
        const orders = await stage.open('orders');
        await carryOut(orders, await stage.open('payments'), await fill(orders));
        const log = orders.caller('orders');
        await expectSoon(() => log.store(anAction({ id: log.newCallId('payments'), body })).catch(String)).toEqual({
          kind: 'accepted',
        });
      },
    );

    test('refuses only what does not fit, where many are stored at once', async () => {
      await stage.set({ maxBytes: 4 * 1024 * 1024 });
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const stores = Array.from({ length: 60 }, async () => {
        const id = log.newCallId('payments');
        const stored = await log.store(anAction({ id, body: Buffer.alloc(100_000) })).catch((error: unknown) => error);
        return { id, stored };
      });
      const results = await Promise.all(stores);
      const refused = results.filter(({ stored }) => stored instanceof BrokerUnavailable);
      const accepted = results.filter(({ stored }) => !(stored instanceof Error));
      expect(refused.length + accepted.length).toBe(60);
      expect(refused.length).toBeGreaterThan(0);
      expect(accepted.length).toBeGreaterThan(5);
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const came = new Set<string>();
      for (const _ of accepted) came.add((await hands.next()).action.id);
      expect(came).toEqual(new Set(accepted.map(({ id }) => id)));
      expect(await hands.taking.backlog()).toMatchObject({ waiting: accepted.length });
    });
  });
}
