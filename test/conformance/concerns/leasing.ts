import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, plain } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

export function leasing(candidate: Candidate): void {
  describe('leases', () => {
    const stage = useStage(candidate);

    test('a taking starts paused, and hands out nothing while it is paused', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = new Hands(payments, 'payments');
      const control = Hands.open(await stage.open('payments', 'payments-2'), 'payments', 2);
      const [a, b, c] = [1, 2, 3].map(() => anAction({ id: log.newCallId('payments') }));
      await storeAll(log, [a!, b!]);
      // Who is not paused gets both: they were there to be had.
      await control.next();
      await control.next();
      expect(hands.came).toEqual([]);
      await storeAll(log, [c!]);
      hands.taking.resume();
      expect((await hands.next()).action.id).toBe(c!.id);
      hands.taking.pause();
      const d = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [d]);
      control.slots++;
      control.taking.more();
      expect((await control.next()).action.id).toBe(d.id);
      expect(hands.came).toHaveLength(1);
    });

    test('no more are out than there are free slots, and more come as slots become free', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments', 2);
      await storeAll(
        log,
        Array.from({ length: 5 }, () => anAction({ id: log.newCallId('payments') })),
      );
      for (let answered = 0; answered < 5; answered++) {
        const lease = await hands.next();
        expect(hands.came.length - answered).toBeLessThanOrEqual(2);
        await hands.answer(lease, 'done');
      }
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('two instances share the work, and each call goes to one of them', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const one = Hands.open(await stage.open('payments', 'payments-1'), 'payments', 3);
      const two = Hands.open(await stage.open('payments', 'payments-2'), 'payments', 3);
      const actions = Array.from({ length: 30 }, () => anAction({ id: log.newCallId('payments') }));
      await storeAll(log, actions);
      // Neither has room for all six, so both have three; from here on each goes at its own pace.
      for (let i = 0; i < 3; i++) await Promise.all([one.next(), two.next()]);
      expect([one.came.length, two.came.length]).toEqual([3, 3]);
      const answered = new Map([
        [one, 0],
        [two, 0],
      ]);
      for (let done = 0; done < 30; done++) {
        const hands = await eventually(
          () => {
            const ready = [one, two].find((each) => each.came.length > answered.get(each)!);
            if (ready === undefined) throw new Error(`${done} calls came`);
            return ready;
          },
          { what: 'the next call at either instance', intervalMs: 2 },
        );
        const index = answered.get(hands)!;
        answered.set(hands, index + 1);
        await hands.answer(hands.came[index]!, 'done');
      }
      const ids = [...one.came, ...two.came].map((lease) => lease.action.id);
      expect(new Set(ids).size).toBe(30);
    });

    test('what is released comes again at once, as if it had never been out', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments');
      for (const idempotent of [true, false]) {
        await storeAll(log, [anAction({ id: log.newCallId('payments'), idempotent })]);
        await hands.release(await hands.next());
        const second = await hands.next();
        expect(second).toMatchObject({ progress: { attempts: [] }, unaccounted: 0 });
        // A start is taken back with it: nothing was sent.
        expect(await second.start(1)).toBe('started');
        await hands.release(second);
        const third = await hands.next();
        expect(third).toMatchObject({ progress: { attempts: [] }, unaccounted: 0 });
        expect(third.progress.started).toBeUndefined();
        await hands.answer(third, 'done');
      }
    });

    test('what is postponed comes again when it is due, with what was remembered', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const one = Hands.open(await stage.open('payments', 'payments-1'), 'payments');
      await storeAll(log, [anAction({ id: log.newCallId('payments'), idempotent: true })]);
      const lease = await one.next();
      await lease.start(1);
      const progress = {
        attempts: [anAttempt(1, 'retry-status', { status: 503, detail: 'caf\u00e9' })],
        answer: anAnswer('try later', { status: 503, headers: ['Retry-After', '1'], body: Buffer.from([0, 255, 10]) }),
      };
      const until = Date.now() + 700;
      const two = Hands.open(await stage.open('payments', 'payments-2'), 'payments');
      one.taking.pause();
      await one.postpone(lease, progress, until);
      const again = await two.next();
      // Time zero of a timer may round down by one.
      expect(Date.now()).toBeGreaterThanOrEqual(until - 25);
      expect(plain(again.progress)).toMatchObject(plain(progress) as object);
      expect(again.progress.started).toBeUndefined();
      expect(again.unaccounted).toBe(0);
      await two.answer(again, 'done');
    });

    test('what is postponed into the past comes again at once', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments');
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      for (let attempt = 1; attempt <= 3; attempt++) {
        const lease = await hands.next();
        expect(lease.progress.attempts).toHaveLength(attempt - 1);
        await lease.start(attempt);
        const attempts = [...lease.progress.attempts, anAttempt(attempt, 'retry-status', { status: 503 })];
        await hands.postpone(lease, { attempts }, attempt === 2 ? 0 : Date.now() - 1);
      }
      expect((await hands.next()).progress.attempts.map((record) => record.attempt)).toEqual([1, 2, 3]);
    });

    test('after its end a taking hands out nothing, and what is in hand can be finished', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = Hands.open(payments, 'payments');
      const action = anAction({ id: log.newCallId('payments') });
      const awaited = log.await(action.id);
      await storeAll(log, [action]);
      const lease = await hands.next();
      await hands.taking.stop();
      hands.taking.resume();
      hands.taking.more();
      const other = Hands.open(await stage.open('payments', 'payments-2'), 'payments');
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      await other.next();
      expect(hands.came).toHaveLength(1);
      await hands.answer(lease, 'the last');
      expect((await awaited.response).outcome).toBe('answered');
    });

    test('the backlog counts what is stored and not finished, and knows since when', async () => {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = new Hands(payments, 'payments');
      const actions = [1, 2, 3].map((n) =>
        anAction({ id: log.newCallId('payments'), acceptedAt: 1_700_000_000_000 + n }),
      );
      await storeAll(log, actions);
      expect(await hands.taking.backlog()).toEqual({ waiting: 3, oldest: actions[0]!.acceptedAt });
      hands.taking.resume();
      const lease = await hands.next();
      await hands.answer(lease, 'done');
      const left = actions.find((action) => action.id !== lease.action.id);
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 2, oldest: left!.acceptedAt });
    });
  });
}
