import { describe, expect, test } from 'vitest';
import { conclude } from '../../../sidecar/model/call.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt, givenUp, keyedId } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

const hour = 3_600_000;

export function topology(candidate: Candidate): void {
  describe('who calls whom', () => {
    const stage = useStage(candidate);

    test('nobody, where there was no call', async () => {
      const { operator } = await stage.open('orders');
      expect((await operator.topology(hour)).edges).toEqual([]);
    });

    test('edges with their routes, rates, latencies, errors, backlog and dead letters; services with their sidecars', async () => {
      const orders = await stage.open('orders');
      const shop = await stage.open('shop');
      const log = orders.caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const now = Date.now();
      const [quick, slow, failing, dead, open] = [1, 2, 3, 4, 5].map((n) =>
        anAction({ id: log.newCallId('payments'), acceptedAt: now - n * 1000, route: n === 2 ? 'refund' : 'charge' }),
      );
      const answer = async (action: typeof quick, status: number, ms: number) => {
        await storeAll(log, [action!]);
        const body = Buffer.from('done');
        const progress = { attempts: [], answer: { status, reason: '', headers: [], trailers: [], body } };
        await hands.finish(await hands.next(), conclude(action!, progress, 'answered', action!.acceptedAt + ms));
      };
      await answer(quick, 200, 20);
      await answer(slow, 404, 900);
      await answer(failing, 500, 30);
      await storeAll(log, [dead!]);
      await hands.finish(await hands.next(), givenUp(dead!, 'exhausted', { attempts: [anAttempt(1, 'no-answer')] }));
      await storeAll(log, [open!]);
      await hands.next();
      const other = anAction({ id: shop.caller('shop').newCallId('payments'), caller: 'shop', acceptedAt: now });
      await storeAll(shop.caller('shop'), [other]);

      await expectSoon(() => orders.operator.topology(hour)).toMatchObject({ edges: [{ finished: 4 }, {}] });
      const { services, edges, windowMs } = await orders.operator.topology(hour);
      expect(windowMs).toBe(hour);
      expect(services.map(({ name }) => name)).toEqual(['orders', 'payments', 'shop']);
      // A sidecar that is slow to answer counts as not there.
      await expectSoon(async () => (await orders.operator.topology(hour)).services).toContainEqual({
        name: 'payments',
        instances: 1,
      });
      const [first, second] = edges;
      expect(first).toMatchObject({
        from: 'orders',
        to: 'payments',
        routes: ['charge', 'refund'],
        finished: 4,
        failed: 2,
        waiting: 1,
        oldest: open!.acceptedAt,
        deadLetters: 1,
        latency: { p50: 30 },
      });
      expect(first!.perSecond).toBeCloseTo(4 / 3600, 6);
      expect(second).toEqual({
        from: 'shop',
        to: 'payments',
        routes: ['charge'],
        finished: 0,
        failed: 0,
        perSecond: 0,
        waiting: 1,
        oldest: now,
        deadLetters: 0,
      });
      expect((await orders.operator.topology(1)).edges[0]).toMatchObject({ finished: 0, failed: 0, deadLetters: 1 });
    });

    test('a story has the trace of its call, and of a keyed one says who attached and whether a caller has had the answer', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const hands = new Hands(await stage.open('payments'), 'payments');
      const trace = { traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' };
      const id = keyedId('order-1');
      const action = anAction({ id, keyed: true, trace });
      await storeAll(log, [action]);
      expect(await orders.operator.call(id)).toMatchObject({ state: 'waiting', trace });
      log.noteAttached(id, 'waited');
      log.noteAttached(id, 'waited');
      await expectSoon(async () => (await orders.operator.call(id))?.attached).toMatchObject([
        { how: 'waited', instance: 'orders-1' },
      ]);
      hands.taking.resume();
      const response = await hands.answer(await hands.next(), 'done');
      expect(await orders.operator.call(id)).toMatchObject({ state: 'answered', trace, delivered: false });
      log.markDelivered(id, response.call.round);
      await expectSoon(async () => (await orders.operator.call(id))?.delivered).toBe(true);
      log.noteAttached(id, 'served');
      const how = async () => (await orders.operator.call(id))?.attached?.map((each) => each.how);
      await expectSoon(how).toEqual(['waited', 'served']);
    });
  });
}
