import { describe, expect } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import type { Candidate } from '../backend.ts';
import { anAction, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, testWhere, useStage } from '../stage.ts';

export function reconnecting(candidate: Candidate): void {
  describe('a backend that is killed and comes back', () => {
    const stage = useStage(candidate);
    const testOfProcess = testWhere(candidate.supports.ownProcess);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      return { orders, payments, log: orders.caller('orders'), hands: Hands.open(payments, 'payments') };
    }

    async function away(...brokers: Awaited<ReturnType<typeof stage.open>>[]): Promise<void> {
      await stage.backend.kill!();
      for (const broker of brokers) await expectSoon(() => broker.status.connected).toBe(false);
    }

    testOfProcess('the status says so, and says when it is back', async () => {
      const { orders } = await set();
      expect(orders.status).toEqual({ connected: true });
      const heard: boolean[] = [];
      const stop = orders.onStatus((status) => heard.push(status.connected));
      await away(orders);
      expect(orders.status.detail).toBeTypeOf('string');
      await stage.backend.restart!();
      await expectSoon(() => orders.status.connected).toBe(true);
      await expectSoon(() => heard).toEqual([false, true]);
      stop();
    });

    testOfProcess('without it a store is refused at once, with nothing stored', async () => {
      const { orders, log, hands } = await set();
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      await hands.answer(await hands.next(), 'done');
      await away(orders);
      const refused = anAction({ id: log.newCallId('payments') });
      await expect(log.store(refused)).rejects.toThrow(BrokerUnavailable);
      await stage.backend.restart!();
      await expectSoon(() => orders.status.connected).toBe(true);
      await expectSoon(() => log.find(refused.id).catch(String)).toBeUndefined();
      const marker = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [marker]);
      expect((await hands.next()).action.id).toBe(marker.id);
    });

    testOfProcess(
      'what is open comes, what is awaited arrives, without anybody asking again',
      async () => {
        const { orders, payments, log, hands } = await set();
        hands.taking.pause();
        const action = anAction({ id: log.newCallId('payments') });
        const awaited = log.await(action.id);
        await storeAll(log, [action]);
        hands.taking.resume();
        await away(orders, payments);
        await stage.backend.restart!();
        let lease = await hands.next('the call that was open', 40_000);
        // It may have come once before the kill; then that lease is good, too.
        lease = hands.came[0]!;
        await hands.answer(lease, 'after the restart');
        expect(textOf(await awaited.response)).toBe('after the restart');
      },
      90_000,
    );

    testOfProcess(
      'an answer that is brought while it is away is stored when it is back',
      async () => {
        const { orders, payments, log, hands } = await set();
        const action = anAction({ id: log.newCallId('payments') });
        const awaited = log.await(action.id);
        await storeAll(log, [action]);
        const lease = await hands.next();
        expect(await lease.start(1)).toBe('started');
        await away(orders, payments);
        const finished = hands.answer(lease, 'kept for you');
        await stage.backend.restart!();
        await finished;
        expect(textOf(await awaited.response)).toBe('kept for you');
        await expectSoon(() => hands.taking.backlog().catch(String)).toEqual({ waiting: 0 });
      },
      90_000,
    );

    testOfProcess(
      'stores that are under way while it is killed are accepted and there, or refused and not there',
      async () => {
        const { orders, log, hands } = await set();
        hands.taking.pause();
        await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
        const accepted = new Set<string>();
        const refused = new Set<string>();
        let stop = false;
        const storer = async () => {
          while (!stop) {
            const id = log.newCallId('payments');
            try {
              await storeAll(log, [anAction({ id })]);
              accepted.add(id);
            } catch (error) {
              expect(error).toBeInstanceOf(BrokerUnavailable);
              refused.add(id);
              stop = true;
            }
          }
        };
        const storers = Array.from({ length: 8 }, storer);
        await expectSoon(() => accepted.size).toBeGreaterThan(20);
        await away(orders);
        stop = true;
        // Those that are under way are told when the truth is known; a new one is told at once.
        const late = log.newCallId('payments');
        await expect(log.store(anAction({ id: late }))).rejects.toThrow(BrokerUnavailable);
        refused.add(late);
        await stage.backend.restart!();
        await Promise.all(storers);
        await expectSoon(() => orders.status.connected).toBe(true);
        hands.slots = 100_000;
        hands.taking.resume();
        await expectSoon(() => hands.came.filter((lease) => accepted.has(lease.action.id)).length, 40_000).toBe(
          accepted.size,
        );
        for (const id of refused) expect(hands.came.some((lease) => lease.action.id === id)).toBe(false);
      },
      90_000,
    );
  });
}
