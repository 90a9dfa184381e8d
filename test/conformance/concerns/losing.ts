import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { anAction, givenUp, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

/** How long a lease may outlive a holder that is silent, ms. Engines differ; a minute would be too long for any caller. */
const silenceLimit = 40_000;

export function losing(candidate: Candidate): void {
  describe('losing a lease', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      return { orders, payments, log: orders.caller('orders') };
    }

    for (const idempotent of [true, false]) {
      const kind = idempotent ? 'an idempotent' : 'a guarded';

      test(`${kind} call that a killed process had started comes again, and the attempt is known of`, async () => {
        const { payments, log } = await set();
        const action = anAction({ id: log.newCallId('payments'), idempotent });
        await storeAll(log, [action]);
        const child = await stage.send({ kind: 'hold', start: true, text: '' });
        await child.tells('holds');
        const hands = Hands.open(payments, 'payments');
        await child.process.kill9();
        const lease = await hands.next('the call of the dead', silenceLimit);
        expect(lease.action.id).toBe(action.id);
        if (idempotent) {
          expect(lease.progress).toEqual({ attempts: [] });
          expect(lease.unaccounted).toBe(1);
        } else {
          expect(lease.progress.started).toMatchObject({ attempt: 1, instance: 'holder' });
          expect(lease.unaccounted).toBe(0);
        }
        await hands.answer(lease, 'done');
      });

      test(`${kind} call that a killed process had in hand and not started comes again`, async () => {
        const { payments, log } = await set();
        const action = anAction({ id: log.newCallId('payments'), idempotent });
        await storeAll(log, [action]);
        const child = await stage.send({ kind: 'hold', start: false, text: '' });
        await child.tells('holds');
        const hands = Hands.open(payments, 'payments');
        await child.process.kill9();
        const lease = await hands.next('the call of the dead', silenceLimit);
        expect(lease.progress).toEqual({ attempts: [] });
        // Not every engine can tell that it was not started.
        expect(lease.unaccounted).toBeLessThanOrEqual(idempotent ? 1 : 0);
        await hands.answer(lease, 'done');
      });
    }

    test('the mark of a start that a dead process left is not taken back by one who only looked at it', async () => {
      const { payments, log } = await set();
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      const child = await stage.send({ kind: 'hold', start: true, text: '' });
      await child.tells('holds');
      const hands = Hands.open(payments, 'payments');
      await child.process.kill9();
      await hands.release(await hands.next('the call of the dead', silenceLimit));
      const lease = await hands.next();
      expect(lease.progress.started).toMatchObject({ attempt: 1, instance: 'holder' });
      await hands.finish(lease, givenUp(lease.action, 'outcome-unknown', lease.progress));
    });

    test('an attempt that died with its process is not forgotten by one who only looked at it', async () => {
      const { payments, log } = await set();
      await storeAll(log, [anAction({ id: log.newCallId('payments'), idempotent: true })]);
      const child = await stage.send({ kind: 'hold', start: true, text: '' });
      await child.tells('holds');
      const hands = Hands.open(payments, 'payments');
      await child.process.kill9();
      await hands.release(await hands.next('the call of the dead', silenceLimit));
      expect((await hands.next()).unaccounted).toBe(1);
    });

    test('a silent process loses its call and no other does; its late answer does not replace the first', async () => {
      const { payments, log } = await set();
      const kept = anAction({ id: log.newCallId('payments'), idempotent: true });
      await storeAll(log, [kept]);
      const keeper = Hands.open(payments, 'payments', 1);
      const keptLease = await keeper.next();
      await keptLease.start(1);
      const lost = anAction({ id: log.newCallId('payments'), idempotent: true });
      await storeAll(log, [lost]);
      const child = await stage.send({ kind: 'hold', start: true, text: 'too late' });
      await child.tells('holds');
      const hands = Hands.open(await stage.open('payments', 'payments-2'), 'payments');
      await child.process.suspend();
      const lease = await hands.next('the call of the silent', silenceLimit);
      expect(lease.action.id).toBe(lost.id);
      // The lease that is kept is as old, and its holder is alive.
      expect(keptLease.lost.aborted).toBe(false);
      expect(hands.came).toHaveLength(1);
      await hands.answer(lease, 'the first');
      child.process.resume();
      await child.tells('lost');
      await child.tells('finished');
      const found = await log.find(lost.id);
      expect(found?.kind === 'finished' && textOf(found.response)).toBe('the first');
      await keeper.answer(keptLease, 'kept');
      await expectSoon(() => keeper.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('the answer of a lost lease counts where it is the first; the other holder’s does not', async () => {
      const { payments, log } = await set();
      const action = anAction({ id: log.newCallId('payments'), idempotent: true });
      const awaited = log.await(action.id);
      await storeAll(log, [action]);
      const child = await stage.send({ kind: 'hold', start: true, text: 'the first' });
      await child.tells('holds');
      const hands = Hands.open(payments, 'payments');
      await child.process.suspend();
      const lease = await hands.next('the call of the silent', silenceLimit);
      child.process.resume();
      await child.tells('finished');
      expect(textOf(await awaited.response)).toBe('the first');
      await hands.answer(lease, 'the second');
      const found = await log.find(action.id);
      expect(found?.kind === 'finished' && textOf(found.response)).toBe('the first');
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('a call given up as unknown gets its real answer when that comes after all', async () => {
      const { orders, payments, log } = await set();
      const action = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [action]);
      const child = await stage.send({ kind: 'hold', start: true, text: 'it was done' });
      await child.tells('holds');
      const hands = Hands.open(payments, 'payments');
      await child.process.suspend();
      const lease = await hands.next('the call of the silent', silenceLimit);
      await hands.finish(lease, givenUp(action, 'outcome-unknown', lease.progress));
      expect(await orders.operator.deadLetter(action.id)).toMatchObject({ reason: 'outcome-unknown' });
      child.process.resume();
      await child.tells('finished');
      const found = await log.find(action.id);
      expect(found).toMatchObject({ kind: 'finished', response: { outcome: 'answered' } });
      expect(found?.kind === 'finished' && textOf(found.response)).toBe('it was done');
      expect(await orders.operator.deadLetters({ limit: 10 })).toEqual([]);
    });
  });
}
