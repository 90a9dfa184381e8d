import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt } from '../events.ts';
import { Hands, storeAll, useStage } from '../stage.ts';

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
  });
}
