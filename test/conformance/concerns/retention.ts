import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import type { Candidate } from '../backend.ts';
import { anAction, givenUp, keyedId } from '../events.ts';
import { Hands, storeAll, testWhere, useStage } from '../stage.ts';

export function retention(candidate: Candidate): void {
  describe('retention', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      return { operator: orders.operator, log, hands };
    }

    function gone(what: string, look: () => Promise<unknown>): Promise<void> {
      return eventually(
        async () => {
          const found = await look();
          if (found !== undefined) throw new Error(`it is still there: ${JSON.stringify(found)}`);
        },
        { what: `${what} to be gone` },
      );
    }

    test('a response goes when its time is over, and one with a key has its own time', async () => {
      await stage.set({ retention: { responses: 1_000 } });
      const { log, hands } = await set();
      const plain = anAction({ id: log.newCallId('payments') });
      const keyed = anAction({ id: keyedId('kept'), keyed: true });
      for (const action of [plain, keyed]) {
        await storeAll(log, [action]);
        await hands.answer(await hands.next(), 'done');
      }
      expect(await log.find(keyed.id)).toMatchObject({ kind: 'finished' });
      await gone('the response without a key', () => log.find(plain.id));
      expect(await log.find(keyed.id)).toMatchObject({ kind: 'finished' });
    });

    const testOfKeys = testWhere(candidate.supports.shortRetentionOfKeys);

    testOfKeys('when the response of a key is gone, the key makes a new call', async () => {
      await stage.set({ retention: { keyed: 1_000 } });
      const { log, hands } = await set();
      const action = anAction({ id: keyedId('again'), keyed: true });
      await storeAll(log, [action]);
      await hands.answer(await hands.next(), 'the first');
      await gone('the response', () => log.find(action.id));
      await storeAll(log, [{ ...action, fingerprint: 'new' }]);
      expect((await hands.next()).action.fingerprint).toBe('new');
    });

    test('an open call has no retention', async () => {
      await stage.set({ retention: { responses: 500, keyed: 500, deadLetters: 500 } });
      const { log, hands } = await set();
      hands.taking.pause();
      const open = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [open]);
      const control = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [control]);
      await log.withdraw(control.id, 'cancelled');
      await gone('the control', () => log.find(control.id));
      hands.taking.resume();
      expect((await hands.next()).action.id).toBe(open.id);
    });

    test('a letter goes when its time is over', async () => {
      await stage.set({ retention: { deadLetters: 1_000 } });
      const { log, hands, operator } = await set();
      const action = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [action]);
      await hands.finish(await hands.next(), givenUp(action, 'exhausted'));
      expect(await operator.deadLetter(action.id)).toBeDefined();
      await gone('the letter', () => operator.deadLetter(action.id));
      expect(await operator.deadLetters({ limit: 10 })).toEqual([]);
    });

    // Contract, section 4: "answered with that problem until an operator replays or discards it".
    test('a key whose outcome is unknown starts no second call for as long as its letter lies there', async () => {
      await stage.set({ retention: { keyed: 500, responses: 500 } });
      const { log, hands, operator } = await set();
      const action = anAction({ id: keyedId('unknown'), keyed: true });
      const control = anAction({ id: keyedId('control'), keyed: true });
      await storeAll(log, [action]);
      await hands.finish(await hands.next(), givenUp(action, 'outcome-unknown'));
      await storeAll(log, [control]);
      await hands.answer(await hands.next(), 'done');
      await gone('the control', () => log.find(control.id));
      expect(await operator.deadLetter(action.id)).toMatchObject({ reason: 'outcome-unknown' });
      expect(await log.store(action)).toMatchObject({ kind: 'finished', response: { outcome: 'outcome-unknown' } });
    });
  });
}
