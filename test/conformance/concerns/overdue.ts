import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

export function overdue(candidate: Candidate): void {
  describe('calls whose deadline passes', () => {
    const stage = useStage(candidate);

    test('while their service is paused they end as dead letters, and everyone who awaits them hears so', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      hands.taking.pause();
      const soon = anAction({ id: log.newCallId('payments'), deadline: Date.now() + 300 });
      const later = anAction({ id: log.newCallId('payments') });
      const awaited = log.await(soon.id);
      await storeAll(log, [soon, later]);
      const response = await awaited.response;
      expect(response).toMatchObject({ outcome: 'deadline-exceeded', attempts: [] });
      expect(response.answer).toBeUndefined();
      expect(response.finishedAt).toBeGreaterThanOrEqual(soon.deadline);
      expect(await orders.operator.deadLetter(soon.id)).toMatchObject({ reason: 'deadline-exceeded' });
      hands.taking.resume();
      expect((await hands.next()).action.id).toBe(later.id);
    });

    test('one that was tried before ends with its last real answer and its history', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const action = anAction({ id: log.newCallId('payments'), deadline: Date.now() + 1_500 });
      const awaited = log.await(action.id);
      await storeAll(log, [action]);
      const lease = await hands.next();
      await lease.start(1);
      const attempts = [anAttempt(1, 'retry-status', { status: 503 })];
      await hands.postpone(lease, { attempts, answer: anAnswer('busy', { status: 503 }) }, Date.now() + 60_000);
      hands.taking.pause();
      const response = await awaited.response;
      expect(response).toMatchObject({ outcome: 'deadline-exceeded', attempts, answer: { status: 503 } });
      expect(textOf(response)).toBe('busy');
    });

    test('one that is in hand is the business of the one who has it', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const action = anAction({ id: log.newCallId('payments'), deadline: Date.now() + 300 });
      const control = anAction({ id: log.newCallId('payments'), deadline: Date.now() + 301 });
      await storeAll(log, [action]);
      const lease = await hands.next();
      await lease.start(1);
      hands.taking.pause();
      const awaited = log.await(control.id);
      await storeAll(log, [control]);
      expect((await awaited.response).outcome).toBe('deadline-exceeded');
      expect(await log.find(action.id)).toMatchObject({ kind: 'open', activity: 'attempting' });
      await hands.answer(lease, 'in time for me');
      await expectSoon(() => log.find(action.id)).toMatchObject({
        kind: 'finished',
        response: { outcome: 'answered' },
      });
    });
  });
}
