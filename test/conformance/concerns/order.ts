import { describe, expect, test } from 'vitest';
import type { Lease } from '../../../sidecar/broker/port.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt } from '../events.ts';
import { expectSoon, Hands, storeAll, testWhere, useStage } from '../stage.ts';

export function order(candidate: Candidate): void {
  describe('order of delivery', () => {
    const stage = useStage(candidate);

    test('the oldest comes first, also of what was stored while nobody took it', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const actions = Array.from({ length: 20 }, () => anAction({ id: log.newCallId('payments') }));
      await storeAll(log, actions);
      const hands = Hands.open(await stage.open('payments'), 'payments', 1);
      for (const action of actions) {
        const lease = await hands.next();
        expect(lease.action.id).toBe(action.id);
        await hands.answer(lease, 'done');
      }
    });

    test('a call that is postponed holds up nobody', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const actions = [1, 2, 3].map(() => anAction({ id: log.newCallId('payments') }));
      await storeAll(log, actions);
      const hands = Hands.open(await stage.open('payments'), 'payments', 1);
      const first = await hands.next();
      await first.start(1);
      const attempts = [anAttempt(1, 'retry-status')];
      await hands.postpone(first, { attempts }, Date.now() + 300);
      const came = [];
      for (let i = 0; i < 3; i++) {
        const lease = await hands.next();
        came.push(lease.action.id);
        await hands.answer(lease, 'done');
      }
      expect(came.toSorted()).toEqual(actions.map((action) => action.id).toSorted());
      expect(came[0]).not.toBe(actions[0]!.id);
    });

    testWhere(candidate.supports.orderKeys)(
      'calls with one order key run one after another, over all instances',
      async () => {
        const orders = await stage.open('orders');
        const log = orders.caller('orders');
        const one = Hands.open(await stage.open('payments', 'payments-1'), 'payments', 8);
        const two = Hands.open(await stage.open('payments', 'payments-2'), 'payments', 8);
        const keyed = (orderKey: string) => anAction({ id: log.newCallId('payments'), orderKey });
        const [a1, b1, a2, a3, free] = [
          keyed('a'),
          keyed('b'),
          keyed('a'),
          keyed('a'),
          anAction({ id: log.newCallId('payments') }),
        ];
        await storeAll(log, [a1, b1, a2, a3, free]);
        const came = () => [...one.came, ...two.came].map((lease) => lease.action.id);
        const arrives = (id: string) => expectSoon(came).toContain(id);
        const ended = new Set<Lease>();
        const leaseOf = (id: string) => {
          for (const hands of [one, two]) {
            const lease = hands.came.find((each) => each.action.id === id && !ended.has(each));
            if (lease === undefined) continue;
            ended.add(lease);
            return { hands, lease };
          }
          throw new Error(`nobody has ${id}`);
        };
        // A key that waits holds up no other.
        for (const id of [a1.id, b1.id, free.id]) await arrives(id);
        expect(came()).not.toContain(a2.id);
        // A pause between two attempts is no reason to let the next one go first.
        const first = leaseOf(a1.id);
        await first.lease.start(1);
        await first.hands.postpone(first.lease, { attempts: [anAttempt(1, 'retry-status')] }, Date.now() + 100);
        await expectSoon(() => came().filter((id) => id === a1.id)).toHaveLength(2);
        expect(came()).not.toContain(a2.id);
        const again = leaseOf(a1.id);
        await again.hands.answer(again.lease, 'a1');
        await arrives(a2.id);
        expect(came()).not.toContain(a3.id);
        const second = leaseOf(a2.id);
        await second.hands.answer(second.lease, 'a2');
        await arrives(a3.id);
      },
    );
  });
}
