import { describe, expect, test } from 'vitest';
import type { Broker, SubscriptionTaking } from '../../../sidecar/broker/port.ts';
import type { Candidate } from '../backend.ts';
import { anEvent, givenUp } from '../events.ts';
import { expectSoon, Hands, hook, publishAll, useStage } from '../stage.ts';

export function ending(candidate: Candidate): void {
  describe('ended, removed and listed subscriptions', () => {
    const stage = useStage(candidate);
    const name = { service: 'mail', subscription: 'all' };

    function subscribe(broker: Broker): { hands: Hands; taking: () => SubscriptionTaking } {
      let taking: SubscriptionTaking | undefined;
      const hands = new Hands(broker, 'mail', 1, (take) => {
        const options = {
          name: 'all',
          topic: 'order.**',
          from: { kind: 'first' as const },
          target: () => hook,
          ...take,
        };
        taking = broker.subscriber('mail').subscribe(options);
        return taking;
      });
      hands.taking.resume();
      return { hands, taking: () => taking! };
    }

    async function set() {
      const orders = await stage.open('orders');
      const log = orders.publisher('orders');
      const events = (count: number) =>
        Array.from({ length: count }, () => anEvent({ id: log.newEventId(), topic: 'order.paid' }));
      return { orders, log, events, register: orders.operator.subscriptions };
    }

    test('what it is, and what waits for it, is listed', async () => {
      const { log, events, register } = await set();
      expect(await register.list()).toEqual([]);
      const { hands, taking } = subscribe(await stage.open('mail'));
      await expectSoon(() => taking().isMade).toBe(true);
      const listing = { ...name, topic: 'order.**', state: 'active', waiting: 0, deadLetters: 0 };
      await expectSoon(() => register.list()).toEqual([listing]);
      const [first, ...others] = events(3);
      await publishAll(log, [first!, ...others]);
      const lease = await hands.next();
      expect(await register.list('mail')).toEqual([{ ...listing, waiting: 3, oldest: first!.at }]);
      await hands.finish(lease, givenUp(lease.action, 'exhausted'));
      await expectSoon(() => register.list('mail')).toMatchObject([{ waiting: 2, deadLetters: 1 }]);
      expect(await register.list('orders')).toEqual([]);
    });

    test('an ended one gets nothing, over restarts too, until it is resumed: then all that it missed', async () => {
      const { log, events, register } = await set();
      const mail = await stage.open('mail');
      const { hands, taking } = subscribe(mail);
      const [first, second] = events(2);
      await publishAll(log, [first!]);
      const lease = await hands.next();
      await taking().end();
      await hands.release(lease);
      expect(taking().isEnded).toBe(true);
      await publishAll(log, [second!]);
      await mail.close(1_000);
      const again = subscribe(await stage.open('mail'));
      const marker = Hands.subscribe(await stage.open('other'), 'other', {
        name: 'marker',
        topic: '**',
        from: { kind: 'first' },
      });
      await expectSoon(() => marker.came.length).toBe(2);
      await expectSoon(() => register.list('mail')).toMatchObject([{ state: 'ended', waiting: 2 }]);
      expect(hands.came).toHaveLength(1);
      expect(again.hands.came).toEqual([]);
      await expectSoon(() => again.taking().isEnded).toBe(true);
      expect(await register.resume(name)).toBe('resumed');
      expect(await register.resume(name)).toBe('active');
      for (const event of [first, second]) {
        const came = await again.hands.next();
        expect(came.action.delivery?.event).toBe(event!.id);
        expect(came.progress.attempts).toEqual([]);
        await again.hands.answer(came, 'thanks');
      }
      expect(again.taking().isEnded).toBe(false);
      // Also where nothing waits that would show it.
      await again.taking().end();
      expect(again.taking().isEnded).toBe(true);
      expect(await register.resume(name)).toBe('resumed');
      await expectSoon(() => again.taking().isEnded).toBe(false);
    });

    test('a removed one is forgotten with what waited for it; made again, it begins anew', async () => {
      const { log, events, register } = await set();
      expect(await register.remove(name)).toBe('unknown');
      expect(await register.resume(name)).toBe('unknown');
      const mail = await stage.open('mail');
      const { hands, taking } = subscribe(mail);
      await publishAll(log, events(2));
      const lease = await hands.next();
      await taking().end();
      await hands.release(lease);
      await mail.close(1_000);
      await expectSoon(() => register.remove(name)).toBe('removed');
      expect(await register.list()).toEqual([]);
      const [fresh] = events(1);
      const again = Hands.subscribe(await stage.open('mail'), 'mail', { name: 'all', topic: 'order.**' });
      await expectSoon(() => register.list()).toMatchObject([{ state: 'active', waiting: 0 }]);
      await publishAll(log, [fresh!]);
      expect((await again.next()).action.delivery?.event).toBe(fresh!.id);
    });
  });
}
