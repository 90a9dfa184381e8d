import { describe, expect } from 'vitest';
import type { Broker, Lease, PublisherLog } from '../../../sidecar/broker/port.ts';
import type { BroadcastEvent } from '../../../sidecar/model/broadcast.ts';
import type { Candidate } from '../backend.ts';
import { anAttempt, anEvent, givenUp } from '../events.ts';
import { expectSoon, Hands, publishAll, testWhere, useStage } from '../stage.ts';

/** How long the deliveries of a dead process may take to come again, ms. */
const silenceLimit = 40_000;
const interest = { name: 'all', topic: '**', orderBy: { kind: 'json', pointer: '/k' } } as const;

/** What `orderBy` of a subscription promises. */
export function orderOfDeliveries(candidate: Candidate): void {
  describe('deliveries in order', () => {
    const stage = useStage(candidate);
    const ordered = testWhere(candidate.supports.orderOfDeliveries);

    async function set(slots?: number): Promise<{ mail: Broker; log: PublisherLog; hands: Hands }> {
      const mail = await stage.open('mail');
      const orders = await stage.open('orders');
      const hands = Hands.subscribe(mail, 'mail', interest, slots);
      await expectSoon(() => hands.taking.backlog().catch(String)).toHaveProperty('waiting');
      return { mail, log: orders.publisher('orders'), hands };
    }

    async function another(instance: string, slots?: number): Promise<Hands> {
      return Hands.subscribe(await stage.open('mail', instance), 'mail', interest, slots);
    }

    function event(log: PublisherLog, key?: string): BroadcastEvent {
      const body = Buffer.from(JSON.stringify(key === undefined ? {} : { k: key }));
      return anEvent({ id: log.newEventId(), body });
    }

    function several(log: PublisherLog, key: string, count: number): BroadcastEvent[] {
      return Array.from({ length: count }, () => event(log, key));
    }

    const eventOf = ({ action }: Lease) => action.delivery!.event;
    const cameTo = (...all: Hands[]) => all.flatMap(({ came }) => came.map(eventOf));

    ordered(
      'those with one key are made one after another, over all instances; others do not wait for them',
      async () => {
        const { log, hands: one } = await set();
        const two = await another('mail-2');
        const [a1, b1, a2, a3, free] = [event(log, 'a'), event(log, 'b'), event(log, 'a'), event(log, 'a'), event(log)];
        await publishAll(log, [a1, b1, a2, a3, free]);
        const arrives = (id: string) => expectSoon(() => cameTo(one, two)).toContain(id);
        const ended = new Set<Lease>();
        const leaseOf = (id: string) => {
          for (const hands of [one, two]) {
            const lease = hands.came.find((each) => eventOf(each) === id && !ended.has(each));
            if (lease === undefined) continue;
            ended.add(lease);
            return { hands, lease };
          }
          throw new Error(`nobody has ${id}`);
        };
        for (const { id } of [a1, b1, free]) await arrives(id);
        expect(cameTo(one, two)).not.toContain(a2.id);
        // A pause between two attempts is no reason to let the next one go first.
        const first = leaseOf(a1.id);
        expect(first.lease.action.orderKey).toBe('a');
        await first.lease.start(1);
        await first.hands.postpone(first.lease, { attempts: [anAttempt(1, 'retry-status')] }, Date.now() + 100);
        await expectSoon(() => cameTo(one, two).filter((id) => id === a1.id)).toHaveLength(2);
        expect(cameTo(one, two)).not.toContain(a2.id);
        const again = leaseOf(a1.id);
        expect(again.lease).toMatchObject({ unaccounted: 0, progress: { attempts: [{ attempt: 1 }] } });
        await again.hands.answer(again.lease, 'a1');
        for (const { id } of [a2, a3]) {
          await arrives(id);
          if (id === a2.id) expect(cameTo(one, two)).not.toContain(a3.id);
          const { hands, lease } = leaseOf(id);
          await hands.answer(lease, 'thanks');
        }
        for (const { id } of [b1, free]) {
          const { hands, lease } = leaseOf(id);
          await hands.answer(lease, 'thanks');
        }
        await expectSoon(() => one.taking.backlog()).toEqual({ waiting: 0 });
      },
    );

    ordered('what was stored while nobody took it comes in its order, key by key', async () => {
      const { mail, log, hands } = await set();
      await hands.taking.stop();
      await mail.close(1_000);
      const queues = ['a', 'b', 'c'].map((key) => several(log, key, 8));
      for (let at = 0; at < 8; at++)
        await publishAll(
          log,
          queues.map((queue) => queue[at]!),
        );
      const both = [await another('mail-2', 4), await another('mail-3', 4)];
      const done: string[] = [];
      await Promise.all(
        both.map(async (each) => {
          for (let at = 0; done.length < 24;) {
            const lease = each.came[at];
            if (lease === undefined) {
              await new Promise((resolve) => setTimeout(resolve, 2));
              continue;
            }
            at++;
            const { orderKey } = lease.action;
            const open = both.flatMap(({ came }) => came).filter(({ action }) => action.orderKey === orderKey);
            expect(open.map(eventOf).filter((id) => !done.includes(id))).toEqual([eventOf(lease)]);
            done.push(eventOf(lease));
            await each.answer(lease, 'thanks');
          }
        }),
      );
      for (const queue of queues) {
        const ids = queue.map(({ id }) => id);
        expect(done.filter((id) => ids.includes(id))).toEqual(ids);
      }
      await expectSoon(() => both[0]!.taking.backlog()).toEqual({ waiting: 0 });
    });

    ordered('hundreds that wait for one key hold up nobody', async () => {
      const { log, hands } = await set(4);
      await publishAll(log, [event(log, 'stuck')]);
      const head = await hands.next();
      await head.start(1);
      await hands.postpone(head, { attempts: [anAttempt(1, 'retry-status')] }, Date.now() + 600_000);
      for (let round = 0; round < 4; round++) {
        await Promise.all(several(log, 'stuck', 50).map((each) => log.publish(each)));
        const others = [event(log, `free ${round}`), event(log)];
        await publishAll(log, others);
        const leases = [await hands.next(), await hands.next()];
        expect(leases.map(eventOf).toSorted()).toEqual(others.map(({ id }) => id).toSorted());
        for (const lease of leases) await hands.answer(lease, 'thanks');
      }
      await expectSoon(() => hands.taking.backlog()).toMatchObject({ waiting: 201 });
    });

    ordered('a dead letter lets the next one go, and goes behind the others when it is replayed', async () => {
      const { mail, log, hands } = await set();
      const [a, b, c] = several(log, 'k', 3);
      await publishAll(log, [a!, b!, c!]);
      const dead = await hands.next();
      expect(eventOf(dead)).toBe(a!.id);
      await hands.finish(dead, givenUp(dead.action, 'exhausted'));
      const second = await hands.next();
      expect(eventOf(second)).toBe(b!.id);
      expect(await mail.operator.replay(dead.action.id)).toBe('replayed');
      await hands.answer(second, 'thanks');
      const third = await hands.next();
      expect(eventOf(third)).toBe(c!.id);
      await hands.answer(third, 'thanks');
      const last = await hands.next();
      expect([eventOf(last), last.action.round]).toEqual([a!.id, 2]);
      await hands.answer(last, 'thanks');
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
      expect(await mail.operator.deadLetters({ limit: 10 })).toEqual([]);
    });

    ordered('an instance that is killed with a delivery gives its turn to nobody else', async () => {
      const { mail, log, hands } = await set();
      await hands.taking.stop();
      await mail.close(1_000);
      const events = several(log, 'k', 3);
      await publishAll(log, events);
      const child = await stage.send({ kind: 'hold-delivery', service: 'mail', ...interest });
      await child.tells('holds');
      const back = await another('mail-2');
      await child.process.kill9();
      for (const { id } of events) {
        const lease = await back.next('the next delivery', silenceLimit);
        expect(eventOf(lease)).toBe(id);
        expect(lease.unaccounted).toBe(id === events[0]!.id ? 1 : 0);
        await back.answer(lease, 'thanks');
      }
      await expectSoon(() => back.taking.backlog()).toEqual({ waiting: 0 });
    });

    ordered('a subscription that is removed leaves nothing of its order behind', async () => {
      const { mail, log, hands } = await set();
      const events = several(log, 'k', 3);
      await publishAll(log, events);
      await hands.next();
      await hands.taking.stop();
      await mail.close(1_000);
      const { operator } = await stage.open('orders', 'orders-2');
      await expectSoon(() => operator.subscriptions.remove({ service: 'mail', subscription: 'all' })).toBe('removed');
      const anew = await another('mail-2');
      await expectSoon(() => anew.taking.backlog().catch(String)).toEqual({ waiting: 0 });
      const next = event(log, 'k');
      await publishAll(log, [next]);
      expect(eventOf(await anew.next())).toBe(next.id);
    });

    ordered('what waits in order goes on in order when none is asked for any more', async () => {
      const { mail, log, hands } = await set();
      const events = several(log, 'k', 4);
      await publishAll(log, events);
      await hands.release(await hands.next());
      await hands.next();
      await hands.taking.stop();
      await mail.close(1_000);
      const { orderBy: _, ...anyOrder } = interest;
      const back = Hands.subscribe(await stage.open('mail', 'mail-2'), 'mail', anyOrder);
      const free = event(log, 'k');
      await publishAll(log, [free]);
      const seen = new Set<string>();
      while (seen.size < 5) {
        const lease = await back.next('the next delivery', silenceLimit);
        seen.add(eventOf(lease));
        await back.answer(lease, 'thanks');
      }
      expect(seen).toEqual(new Set([...events, free].map(({ id }) => id)));
      await expectSoon(() => back.taking.backlog()).toEqual({ waiting: 0 });
    });

    testWhere(candidate.supports.ownProcess)('order holds over a kill of the backend', async () => {
      if (candidate.supports.orderOfDeliveries !== true) return;
      const { log, hands } = await set();
      const ids = several(log, 'k', 6).map((each) => each.id);
      await publishAll(
        log,
        ids.map((id) => ({ ...event(log, 'k'), id })),
      );
      const done: string[] = [];
      while (done.at(-1) !== ids.at(-1)) {
        const lease = await hands.next('the next delivery', silenceLimit);
        done.push(eventOf(lease));
        if (done.length === 3) {
          await stage.backend.kill!();
          const finishing = hands.answer(lease, 'thanks');
          await stage.backend.restart!();
          await finishing;
        } else await hands.answer(lease, 'thanks');
      }
      // Again, perhaps, but never back behind another.
      expect([...new Set(done)]).toEqual(ids);
      expect(done.map((id) => ids.indexOf(id))).toEqual(done.map((id) => ids.indexOf(id)).toSorted((a, b) => a - b));
    });
  });
}
