import { describe, expect, test } from 'vitest';
import { type Broker, BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import type { BroadcastEvent } from '../../../sidecar/model/broadcast.ts';
import type { Candidate } from '../backend.ts';
import { anEvent, plain } from '../events.ts';
import { expectSoon, Hands, hook, publishAll, testWhere, useStage } from '../stage.ts';

/** What is promised of an event, whoever subscribed. */
export function broadcasting(candidate: Candidate): void {
  describe('broadcast events', () => {
    const stage = useStage(candidate);

    test('every subscription gets every event that it wants, whole, in order, as a request of CloudEvents', async () => {
      const orders = await stage.open('orders');
      const log = orders.publisher('orders');
      const mail = Hands.subscribe(await stage.open('mail'), 'mail', { name: 'paid', topic: 'order.paid' });
      const audit = Hands.subscribe(await stage.open('audit'), 'audit', { name: 'all', topic: '**' });
      await settled(mail, audit);
      const events = Array.from({ length: 20 }, (_, index) =>
        anEvent({
          id: log.newEventId(),
          topic: index % 2 === 0 ? 'order.paid' : 'order.sent',
          headers: ['Content-Type', 'text/plain', 'X-Tenant', 'caf\u00e9'],
          body: Buffer.from([index, 0, 255]),
          trace: { traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' },
        }),
      );
      await publishAll(log, events);
      for (const event of events) {
        const lease = await audit.next();
        const { delivery, ...action } = lease.action;
        expect(delivery).toEqual({ subscription: 'all', event: event.id, topic: event.topic });
        expect(plain(action)).toMatchObject({
          round: 1,
          caller: 'orders',
          service: 'audit',
          route: 'all',
          method: hook.method,
          target: hook.path,
          retry: hook.retry,
          body: plain(event.body),
          hasBody: true,
          idempotent: true,
          acceptedAt: event.at,
          trace: event.trace,
        });
        expect(action.headers).toEqual([
          ...event.headers,
          'ce-specversion',
          '1.0',
          'ce-id',
          event.id,
          'ce-source',
          '/services/orders',
          'ce-type',
          event.topic,
          'ce-time',
          new Date(event.at).toISOString(),
        ]);
        await audit.answer(lease, 'thanks');
      }
      for (const event of events.filter(({ topic }) => topic === 'order.paid')) {
        const lease = await mail.next();
        expect(lease.action.delivery?.event).toBe(event.id);
        await mail.answer(lease, 'thanks');
      }
      await expectSoon(() => audit.taking.backlog()).toEqual({ waiting: 0 });
      await expectSoon(() => mail.taking.backlog()).toEqual({ waiting: 0 });
      // Two subscriptions never have the same delivery, which is why each has letters of its own.
      expect(new Set([...mail.came, ...audit.came].map(({ action }) => action.id)).size).toBe(30);
    });

    test('an event is stored once under its id, and then it says so', async () => {
      const orders = await stage.open('orders');
      const another = await stage.open('orders', 'orders-2');
      const hands = Hands.subscribe(await stage.open('mail'), 'mail', { name: 'paid', topic: '**' });
      await settled(hands);
      const log = orders.publisher('orders');
      const event = anEvent({ id: log.newEventId(), fingerprint: 'the first' });
      expect(await log.publish(event)).toEqual({ kind: 'stored' });
      for (const publisher of [log, another.publisher('orders')]) {
        expect(await publisher.publish({ ...event, fingerprint: 'another' })).toEqual({
          kind: 'known',
          fingerprint: 'the first',
        });
      }
      await publishAll(log, [anEvent({ id: log.newEventId(), topic: 'the.next' })]);
      expect((await hands.next()).action.fingerprint).toBe('the first');
      expect((await hands.next()).action.delivery?.topic).toBe('the.next');
    });

    test.for([
      ['order.paid', ['order.paid']],
      ['order.*', ['order.paid', 'order.sent']],
      ['*.paid', ['order.paid']],
      ['order.**', ['order', 'order.paid', 'order.sent', 'order.paid.late', 'order.x.y.paid']],
      ['**.paid', ['order.paid', 'order.x.y.paid']],
      ['order.**.paid', ['order.paid', 'order.x.y.paid']],
      ['**', ['order', 'order.paid', 'order.sent', 'order.paid.late', 'order.x.y.paid', 'orders']],
    ] as const)('a subscription to %s gets %s', async ([topic, wanted]) => {
      const orders = await stage.open('orders');
      const log = orders.publisher('orders');
      const hands = Hands.subscribe(await stage.open('mail'), 'mail', { name: 'some', topic });
      await settled(hands);
      const topics = ['order', 'order.paid', 'order.sent', 'order.paid.late', 'order.x.y.paid', 'orders'];
      await publishAll(
        log,
        topics.map((each) => anEvent({ id: log.newEventId(), topic: each })),
      );
      const came: (string | undefined)[] = [];
      for (const _ of wanted) {
        const lease = await hands.next();
        came.push(lease.action.delivery?.topic);
        await hands.answer(lease, 'thanks');
      }
      expect(came).toEqual(wanted);
      // What is not wanted is behind it, too.
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('an event is gone when its retention is over', async () => {
      await stage.set({ retention: { broadcasts: 1_000 } });
      const log = (await stage.open('orders')).publisher('orders');
      const event = anEvent({ id: log.newEventId() });
      await publishAll(log, [event]);
      const mail = await stage.open('mail');
      const first = Hands.subscribe(mail, 'mail', { name: 'first', topic: '**', from: { kind: 'first' } });
      await first.answer(await first.next(), 'thanks');
      await expectSoon(async () => {
        // It only looks: what is being delivered is kept for longer.
        const late = new Hands(mail, 'mail', 8, (take) =>
          mail.subscriber('mail').subscribe({
            name: `late-${log.newEventId()}`,
            topic: '**',
            from: { kind: 'first' },
            target: () => hook,
            ...take,
          }),
        );
        await settled(late);
        const { waiting } = await late.taking.backlog();
        return waiting;
      }).toBe(0);
    });

    async function fill(orders: Broker): Promise<BroadcastEvent[]> {
      const log = orders.publisher('orders');
      const stored: BroadcastEvent[] = [];
      for (;;) {
        const event = anEvent({ id: log.newEventId(), body: Buffer.alloc(100_000, 'full ') });
        try {
          await publishAll(log, [event]);
          stored.push(event);
        } catch (error) {
          expect(error).toBeInstanceOf(BrokerUnavailable);
          expect(stored.length).toBeGreaterThan(5);
          return stored;
        }
        expect(stored.length).toBeLessThan(100);
      }
    }

    async function expectAll(mail: Broker, events: readonly BroadcastEvent[]): Promise<void> {
      const hands = Hands.subscribe(mail, 'mail', { name: 'all', topic: '**', from: { kind: 'first' } }, 4);
      for (const event of events) {
        const lease = await hands.next();
        expect(lease.action.delivery?.event).toBe(event.id);
        await hands.answer(lease, 'thanks');
      }
    }

    test('a full backend refuses events and loses none that it took', async () => {
      await stage.set({ maxBytes: 4 * 1024 * 1024 });
      const orders = await stage.open('orders');
      const events = await fill(orders);
      await orders.close(1_000);
      await stage.backend.grow();
      await expectAll(await stage.open('mail'), events);
    });

    testWhere(candidate.supports.answersWhileFull)('a full backend delivers all that it took', async () => {
      await stage.set({ maxBytes: 4 * 1024 * 1024 });
      const orders = await stage.open('orders');
      const events = await fill(orders);
      await expectAll(await stage.open('mail'), events);
    });

    testWhere(candidate.supports.ownProcess)(
      'a broker that is killed and comes back has every event and every position',
      async () => {
        const orders = await stage.open('orders');
        const log = orders.publisher('orders');
        const mail = await stage.open('mail');
        const hands = Hands.subscribe(mail, 'mail', { name: 'all', topic: '**' }, 4);
        await settled(hands);
        const events = Array.from({ length: 40 }, () => anEvent({ id: log.newEventId() }));
        await publishAll(log, events.slice(0, 20));
        const had = new Set<string>();
        for (let i = 0; i < 10; i++) {
          const lease = await hands.next();
          had.add(lease.action.delivery!.event);
          await hands.answer(lease, 'thanks');
        }
        await stage.backend.kill!();
        await expectSoon(() => orders.status.connected).toBe(false);
        await expect(log.publish(anEvent({ id: log.newEventId() }))).rejects.toBeInstanceOf(BrokerUnavailable);
        await stage.backend.restart!();
        await expectSoon(() => orders.status.connected).toBe(true);
        await publishAll(log, events.slice(20));
        while (had.size < events.length) {
          const lease = await hands.next();
          had.add(lease.action.delivery!.event);
          await hands.answer(lease, 'thanks');
        }
        expect(had).toEqual(new Set(events.map(({ id }) => id)));
        await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
      },
    );
  });

  /** Until the subscriptions are made: what is published then is theirs. */
  async function settled(...hands: Hands[]): Promise<void> {
    for (const each of hands) await expectSoon(() => each.taking.backlog().catch(String)).toHaveProperty('waiting');
  }
}
