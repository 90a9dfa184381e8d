import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, givenUp, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

export function withdrawing(candidate: Candidate): void {
  describe('taking a call back', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      const log = orders.caller('orders');
      const hands = new Hands(payments, 'payments');
      const aCall = async (idempotent = false) => {
        const action = anAction({ id: log.newCallId('payments'), idempotent });
        await storeAll(log, [action]);
        return action;
      };
      return { orders, log, hands, aCall };
    }

    test('one that waits ends cancelled, everyone who awaits it hears so, and nobody gets it', async () => {
      const { log, hands, aCall } = await set();
      const action = await aCall();
      const awaited = log.await(action.id);
      expect(await log.withdraw(action.id, 'cancelled')).toBe('withdrawn');
      expect(await awaited.response).toMatchObject({ outcome: 'cancelled', call: { id: action.id }, attempts: [] });
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', response: { outcome: 'cancelled' } });
      expect(await log.withdraw(action.id, 'cancelled')).toBe('finished');
      hands.taking.resume();
      const next = await aCall();
      expect((await hands.next()).action.id).toBe(next.id);
    });

    test('one that waits and is past its deadline ends as a dead letter', async () => {
      const { orders, log, aCall } = await set();
      const action = await aCall();
      expect(await log.withdraw(action.id, 'deadline-exceeded')).toBe('withdrawn');
      expect(await log.find(action.id)).toMatchObject({ response: { outcome: 'deadline-exceeded' } });
      expect(await orders.operator.deadLetter(action.id)).toMatchObject({ reason: 'deadline-exceeded' });
    });

    test('one that nobody knows is unknown, one that is answered is finished', async () => {
      const { log, hands, aCall } = await set();
      expect(await log.withdraw(log.newCallId('payments'), 'cancelled')).toBe('unknown');
      const action = await aCall();
      hands.taking.resume();
      await hands.answer(await hands.next(), 'done');
      await expectSoon(() => log.withdraw(action.id, 'cancelled')).toBe('finished');
      expect(await log.find(action.id)).toMatchObject({ response: { outcome: 'answered' } });
    });

    test('one that is in hand and not started can be taken back, and then cannot start', async () => {
      const { log, hands, aCall } = await set();
      hands.taking.resume();
      for (const idempotent of [true, false]) {
        const action = await aCall(idempotent);
        const lease = await hands.next();
        expect(await log.withdraw(action.id, 'cancelled')).toBe('withdrawn');
        expect(await lease.start(1)).toBe('gone');
        hands.put();
        expect(await log.find(action.id)).toMatchObject({ kind: 'finished', response: { outcome: 'cancelled' } });
      }
    });

    test('one that is in hand and not started, given back, does not come again', async () => {
      const { log, hands, aCall } = await set();
      hands.taking.resume();
      const action = await aCall();
      const lease = await hands.next();
      expect(await log.withdraw(action.id, 'cancelled')).toBe('withdrawn');
      await hands.release(lease);
      const marker = await aCall();
      expect((await hands.next()).action.id).toBe(marker.id);
    });

    test('one that is running cannot be taken back, by anybody and for any reason', async () => {
      const { orders, log, hands, aCall } = await set();
      hands.taking.resume();
      for (const idempotent of [true, false]) {
        const action = await aCall(idempotent);
        const lease = await hands.next();
        expect(await lease.start(1)).toBe('started');
        expect(await log.withdraw(action.id, 'cancelled')).toBe('started');
        expect(await log.withdraw(action.id, 'deadline-exceeded')).toBe('started');
        expect(await orders.operator.cancel(action.id)).toBe('started');
        expect(await log.find(action.id)).toMatchObject({ kind: 'open', activity: 'attempting' });
        await hands.answer(lease, 'after all');
        await expectSoon(() => log.find(action.id)).toMatchObject({ response: { outcome: 'answered' } });
      }
    });

    test('one that was tried cannot be cancelled any more, but can run out of time, with the last real answer', async () => {
      const { orders, log, hands, aCall } = await set();
      hands.taking.resume();
      const action = await aCall();
      const lease = await hands.next();
      await lease.start(1);
      const attempts = [anAttempt(1, 'retry-status', { status: 503 })];
      await hands.postpone(lease, { attempts, answer: anAnswer('later', { status: 503 }) }, Date.now() + 3_600_000);
      expect(await log.withdraw(action.id, 'cancelled')).toBe('started');
      expect(await log.find(action.id)).toMatchObject({ kind: 'open', activity: 'waiting' });
      const awaited = log.await(action.id);
      expect(await log.withdraw(action.id, 'deadline-exceeded')).toBe('withdrawn');
      const response = await awaited.response;
      expect(response).toMatchObject({ outcome: 'deadline-exceeded', answer: { status: 503 }, attempts });
      expect(textOf(response)).toBe('later');
      expect(await orders.operator.deadLetter(action.id)).toMatchObject({ status: 503, history: attempts });
    });

    test('one that was sent in an earlier round cannot be cancelled', async () => {
      const { orders, log, hands, aCall } = await set();
      hands.taking.resume();
      const action = await aCall();
      const lease = await hands.next();
      await lease.start(1);
      await hands.finish(lease, givenUp(action, 'exhausted', { attempts: [anAttempt(1, 'retry-status')] }));
      hands.taking.pause();
      expect(await orders.operator.replay(action.id)).toBe('replayed');
      expect(await log.withdraw(action.id, 'cancelled')).toBe('started');
    });

    test('when a start and a cancellation meet, one of them wins, never both', async () => {
      const { log, hands, aCall } = await set();
      hands.taking.resume();
      const canceller = (await stage.open('orders', 'orders-2')).caller('orders');
      for (let i = 0; i < 24; i++) {
        const action = await aCall(i % 4 < 2);
        const lease = await hands.next();
        const both =
          i % 2 === 0
            ? [lease.start(1), canceller.withdraw(action.id, 'cancelled')]
            : [canceller.withdraw(action.id, 'cancelled'), lease.start(1)].toReversed();
        const [started, withdrawn] = await Promise.all(both);
        expect(['started+started', 'gone+withdrawn']).toContain(`${started}+${withdrawn}`);
        if (started === 'started') await hands.answer(lease, 'done');
        else hands.put();
        const outcome = started === 'started' ? 'answered' : 'cancelled';
        await expectSoon(() => log.find(action.id)).toMatchObject({ kind: 'finished', response: { outcome } });
      }
    });
  });
}
