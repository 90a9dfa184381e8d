import { describe, expect, test } from 'vitest';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt, givenUp } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

export function listing(candidate: Candidate): void {
  describe('what an operator sees', () => {
    const stage = useStage(candidate);

    test('a call in every state, newest first, by every filter', async () => {
      const orders = await stage.open('orders');
      const { operator } = orders;
      const log = orders.caller('orders');
      const hands = new Hands(await stage.open('payments'), 'payments', 1);
      const start = 1_700_000_000_000;
      const [cancelled, attempting, waiting, answered, dead] = [1, 2, 3, 4, 5].map((n) =>
        anAction({ id: log.newCallId('payments'), acceptedAt: start + n }),
      );
      await storeAll(log, [cancelled!]);
      expect(await operator.cancel(cancelled!.id)).toBe('withdrawn');
      expect(await operator.cancel(cancelled!.id)).toBe('finished');
      hands.taking.resume();
      await storeAll(log, [answered!]);
      await hands.answer(await hands.next(), 'done');
      await storeAll(log, [dead!]);
      await hands.finish(await hands.next(), givenUp(dead!, 'exhausted', { attempts: [anAttempt(1, 'no-answer')] }));
      await storeAll(log, [attempting!]);
      await (await hands.next()).start(1);
      await storeAll(log, [waiting!]);

      const states = { limit: 10 };
      await expectSoon(async () => (await operator.calls(states)).map(({ call, state }) => [call.id, state])).toEqual([
        [dead!.id, 'dead'],
        [answered!.id, 'answered'],
        [waiting!.id, 'waiting'],
        [attempting!.id, 'attempting'],
        [cancelled!.id, 'cancelled'],
      ]);
      expect(await operator.calls({ limit: 2 })).toHaveLength(2);
      for (const [state, action] of Object.entries({ cancelled, attempting, waiting, answered, dead })) {
        const found = await operator.calls({ limit: 10, state: state as 'waiting' });
        expect(found.map(({ call }) => call.id)).toEqual([action!.id]);
        expect(await operator.call(action!.id)).toMatchObject({ state, call: { id: action!.id } });
      }
      expect(await operator.calls({ limit: 10, caller: 'refunds' })).toEqual([]);
      expect(await operator.calls({ limit: 10, service: 'refunds' })).toEqual([]);
      expect(await operator.calls({ limit: 10, caller: 'orders', service: 'payments' })).toHaveLength(5);
    });

    test('the story of a call that waits for its next attempt, and of one that is answered', async () => {
      const orders = await stage.open('orders');
      const log = orders.caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const action = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [action]);
      const lease = await hands.next();
      await lease.start(1);
      const until = Date.now() + 300;
      const attempts = [anAttempt(1, 'retry-status', { status: 503 })];
      const notBefore = until + 3_600_000;
      await hands.postpone(lease, { attempts }, notBefore);
      const story = await orders.operator.call(action.id);
      expect(story).toMatchObject({ state: 'waiting', attempts: 1, history: attempts });
      expect(story?.notBefore).toBe(notBefore);
      expect(story?.waitingFor).toBeTypeOf('string');

      const other = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [other]);
      const response = await hands.answer(await hands.next(), 'done');
      expect(await orders.operator.call(other.id)).toEqual({
        call: response.call,
        state: 'answered',
        outcome: 'answered',
        status: 200,
        attempts: 1,
        history: response.attempts,
        finishedAt: response.finishedAt,
      });
    });
  });
}
