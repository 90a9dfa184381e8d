import { describe, expect, test } from 'vitest';
import type { Broker, PublisherLog } from '../../../sidecar/broker/port.ts';
import type { BroadcastEvent } from '../../../sidecar/model/broadcast.ts';
import type { Candidate } from '../backend.ts';
import { anAttempt, anEvent, givenUp } from '../events.ts';
import { expectSoon, Hands, hook, publishAll, useStage } from '../stage.ts';

/** What is promised of a subscription. */
export function subscribing(candidate: Candidate): void {
  describe('subscriptions', () => {
    const stage = useStage(candidate);

    async function set(): Promise<{ orders: Broker; mail: Broker; log: PublisherLog }> {
      const orders = await stage.open('orders');
      return { orders, mail: await stage.open('mail'), log: orders.publisher('orders') };
    }

    function events(log: PublisherLog, count: number): BroadcastEvent[] {
      return Array.from({ length: count }, () => anEvent({ id: log.newEventId() }));
    }

    /** Until the subscription is made. */
    async function made(hands: Hands): Promise<void> {
      await expectSoon(() => hands.taking.backlog().catch(String)).toHaveProperty('waiting');
    }

    async function expectNext(hands: Hands, expected: readonly BroadcastEvent[]): Promise<void> {
      for (const event of expected) {
        const lease = await hands.next();
        expect(lease.action.delivery?.event).toBe(event.id);
        await hands.answer(lease, 'thanks');
      }
    }

    test('from: new, first, or so far back, decided when it is made and never again', async () => {
      const { mail, log } = await set();
      const old = { ...events(log, 1)[0]!, at: Date.now() };
      await publishAll(log, [old]);
      await new Promise((resolve) => setTimeout(resolve, 600));
      const [young, next] = events(log, 2);
      await publishAll(log, [young!]);
      const open = (name: string, from: object) =>
        Hands.subscribe(mail, 'mail', { name, topic: '**', from: from as { kind: 'new' } });
      const hands = {
        new: open('n', { kind: 'new' }),
        first: open('f', { kind: 'first' }),
        ago: open('a', { kind: 'ago', ago: 500 }),
        long: open('l', { kind: 'ago', ago: 3_600_000 }),
      };
      for (const each of Object.values(hands)) await made(each);
      await publishAll(log, [next!]);
      await expectNext(hands.new, [next!]);
      await expectNext(hands.first, [old, young!, next!]);
      await expectNext(hands.ago, [young!, next!]);
      await expectNext(hands.long, [old, young!, next!]);
      for (const each of Object.values(hands)) await expectSoon(() => each.taking.backlog()).toEqual({ waiting: 0 });
      await mail.close(1_000);
      // What it missed while it was away is its own; what it had, it does not get again, whatever it asks for now.
      const [missed] = events(log, 1);
      await publishAll(log, [missed!]);
      const again = await stage.open('mail');
      for (const name of ['n', 'f', 'a', 'l']) {
        const back = Hands.subscribe(again, 'mail', { name, topic: '**', from: { kind: 'first' } });
        await expectNext(back, [missed!]);
        await expectSoon(() => back.taking.backlog()).toEqual({ waiting: 0 });
      }
    });

    test('it is made while it is paused, and gets what was published then', async () => {
      const { mail, log } = await set();
      const hands = new Hands(mail, 'mail', 8, (take) =>
        mail
          .subscriber('mail')
          .subscribe({ name: 'paused', topic: '**', from: { kind: 'new' }, target: () => hook, ...take }),
      );
      await made(hands);
      const stored = events(log, 3);
      await publishAll(log, stored);
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 3, oldest: stored[0]!.at });
      expect(hands.came).toEqual([]);
      hands.taking.resume();
      await expectNext(hands, stored);
    });

    test('each has its own pace: one that keeps everything holds nobody up', async () => {
      const { mail, log } = await set();
      const slow = Hands.subscribe(mail, 'mail', { name: 'slow', topic: '**' }, 2);
      const fast = Hands.subscribe(mail, 'mail', { name: 'fast', topic: '**' }, 2);
      await made(slow);
      await made(fast);
      const stored = events(log, 10);
      await publishAll(log, stored);
      await expectNext(fast, stored);
      await slow.next();
      await slow.next();
      expect(slow.came).toHaveLength(2);
      expect(await slow.taking.backlog()).toMatchObject({ waiting: 10 });
    });

    test('instances share the work, and each delivery goes to one of them', async () => {
      const { mail, log } = await set();
      const interest = { name: 'shared', topic: '**' };
      const one = Hands.subscribe(mail, 'mail', interest, 3);
      const two = Hands.subscribe(await stage.open('mail', 'mail-2'), 'mail', interest, 3);
      await made(one);
      await made(two);
      await publishAll(log, events(log, 6));
      for (let i = 0; i < 3; i++) await Promise.all([one.next(), two.next()]);
      const ids = [...one.came, ...two.came].map(({ action }) => action.id);
      expect(new Set(ids).size).toBe(6);
    });

    test('what is postponed comes again when it is due, with what was remembered; what is released, as it was', async () => {
      const { mail, log } = await set();
      const hands = Hands.subscribe(mail, 'mail', { name: 'all', topic: '**' });
      await made(hands);
      await publishAll(log, events(log, 1));
      await hands.release(await hands.next());
      const lease = await hands.next();
      expect(lease).toMatchObject({ progress: { attempts: [] }, unaccounted: 0 });
      expect(await lease.start(1)).toBe('started');
      const attempts = [anAttempt(1, 'retry-status', { status: 503 })];
      const until = Date.now() + 500;
      await hands.postpone(lease, { attempts }, until);
      const again = await hands.next();
      expect(Date.now()).toBeGreaterThanOrEqual(until - 30);
      expect(again).toMatchObject({ progress: { attempts }, unaccounted: 0 });
      await hands.answer(again, 'thanks');
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('kill -9 with deliveries at hand: they come again, with the attempts that may have been made', async () => {
      const { mail, log } = await set();
      const hands = Hands.subscribe(mail, 'mail', { name: 'all', topic: '**' });
      await made(hands);
      await mail.close(1_000);
      const [event] = events(log, 1);
      await publishAll(log, [event!]);
      const child = await stage.send({ kind: 'hold-delivery', service: 'mail', name: 'all', topic: '**' });
      const [held] = await child.tells('holds');
      await child.process.kill9();
      const back = Hands.subscribe(await stage.open('mail'), 'mail', { name: 'all', topic: '**' });
      const lease = await back.next('the delivery of a dead instance', 30_000);
      expect(lease.action.id).toBe(held);
      expect(lease.unaccounted).toBe(1);
      await back.answer(lease, 'thanks');
      await expectSoon(() => back.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('a change of topic holds for what comes next', async () => {
      const { mail, log } = await set();
      const before = Hands.subscribe(mail, 'mail', { name: 'all', topic: 'order.paid' });
      await made(before);
      await before.taking.stop();
      await mail.close(1_000);
      const again = await stage.open('mail');
      const after = Hands.subscribe(again, 'mail', { name: 'all', topic: 'order.sent' });
      await made(after);
      const [paid, sent] = ['order.paid', 'order.sent'].map((topic) => anEvent({ id: log.newEventId(), topic }));
      await publishAll(log, [paid!, sent!]);
      await expectNext(after, [sent!]);
      await expectSoon(() => after.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('a dead letter is its own: listed with it, replayed to it alone, discarded', async () => {
      const { mail, log } = await set();
      const { operator } = mail;
      const other = Hands.subscribe(mail, 'mail', { name: 'other', topic: '**' });
      // A replay follows the configuration of its day.
      let target = hook;
      const hands = Hands.subscribe(mail, 'mail', { name: 'all', topic: '**', target: () => target });
      await made(other);
      await made(hands);
      const [event] = events(log, 1);
      await publishAll(log, [event!]);
      await expectNext(other, [event!]);
      const lease = await hands.next();
      const history = [anAttempt(1, 'retry-status', { status: 500 })];
      const ended = givenUp(lease.action, 'exhausted', { attempts: history });
      await hands.finish(lease, ended);
      const letters = await operator.deadLetters({ limit: 10, service: 'mail' });
      expect(letters).toMatchObject([
        {
          call: {
            id: lease.action.id,
            caller: 'orders',
            service: 'mail',
            route: 'all',
            delivery: { subscription: 'all', event: event!.id, topic: 'order.paid' },
          },
          reason: 'exhausted',
          history,
        },
      ]);
      // It is nobody's call.
      expect(await operator.calls({ limit: 10 })).toEqual([]);
      expect(await operator.call(lease.action.id)).toBeUndefined();
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
      target = { ...hook, path: '/mended' };
      expect(await operator.replay(lease.action.id)).toBe('replayed');
      expect(await operator.deadLetters({ limit: 10 })).toEqual([]);
      expect(await operator.replay(lease.action.id)).toBe('unknown');
      const again = await hands.next();
      expect(again.action).toMatchObject({ id: lease.action.id, round: 2, target: '/mended', earlier: history });
      expect(Buffer.from(again.action.body).toString()).toBe('{}');
      await hands.finish(again, givenUp(again.action, 'exhausted', { attempts: [anAttempt(2, 'no-answer')] }));
      expect((await operator.deadLetter(lease.action.id))?.history.map(({ attempt }) => attempt)).toEqual([1, 2]);
      await operator.replay(lease.action.id);
      await hands.answer(await hands.next(), 'thanks');
      expect(await operator.deadLetters({ limit: 10 })).toEqual([]);
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
      expect(other.came).toHaveLength(1);

      const [second] = events(log, 1);
      await publishAll(log, [second!]);
      const lost = await hands.next();
      await hands.finish(lost, givenUp(lost.action, 'exhausted'));
      expect(await operator.discard(lost.action.id)).toBe('discarded');
      expect(await operator.discard(lost.action.id)).toBe('unknown');
      expect(await operator.deadLetters({ limit: 10 })).toEqual([]);
    });
  });
}
