import { describe, expect, test } from 'vitest';
import { deadLetterReasons } from '../../../sidecar/model/call.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, givenUp, keyedId, plain, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

export function deadLetters(candidate: Candidate): void {
  describe('dead letters', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      return {
        orders,
        log: orders.caller('orders'),
        operator: orders.operator,
        hands: Hands.open(payments, 'payments'),
      };
    }

    test('every reason leaves a letter with its history, newest first, and a response that says so', async () => {
      const { log, operator, hands } = await set();
      const ids: string[] = [];
      for (const reason of deadLetterReasons) {
        const action = anAction({ id: log.newCallId('payments'), route: `route-${reason}` });
        ids.unshift(action.id);
        await storeAll(log, [action]);
        const attempts = [
          anAttempt(1, 'retry-status', { status: 503 }),
          anAttempt(2, 'no-answer', { detail: 'reset' }),
        ];
        const progress = { attempts, answer: anAnswer('busy', { status: 503 }) };
        const response = givenUp(action, reason, progress);
        await hands.finish(await hands.next(), response);
        const found = await log.find(action.id);
        expect(found?.kind === 'finished' && plain(found.response)).toEqual(plain(response));
        const letter = await operator.deadLetter(action.id);
        expect(letter).toEqual({
          call: response.call,
          reason,
          status: 503,
          diedAt: response.finishedAt,
          history: attempts,
        });
      }
      expect((await operator.deadLetters({ limit: 10 })).map((letter) => letter.call.id)).toEqual(ids);
      expect((await operator.deadLetters({ limit: 2 })).map((letter) => letter.call.id)).toEqual(ids.slice(0, 2));
      expect(await operator.deadLetters({ limit: 10, service: 'refunds' })).toEqual([]);
      expect(await operator.deadLetters({ limit: 10, route: 'route-exhausted' })).toHaveLength(1);
      expect(await operator.deadLetters({ limit: 10, reason: 'outcome-unknown' })).toHaveLength(1);
      expect(await operator.deadLetters({ limit: 10, reason: 'exhausted', route: 'elsewhere' })).toEqual([]);
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('a replay carries the call out again, whole, and its answer is the one that is found then', async () => {
      const { log, operator, hands } = await set();
      const action = anAction({
        id: keyedId('replay'),
        keyed: true,
        target: '/charges?x=1',
        body: Buffer.from([0, 1, 255]),
      });
      await storeAll(log, [action]);
      const history = [anAttempt(1, 'no-answer', { detail: 'timeout' })];
      await hands.finish(await hands.next(), givenUp(action, 'outcome-unknown', { attempts: history }));
      const before = Date.now();
      expect(await operator.replay(action.id)).toBe('replayed');
      expect(await operator.deadLetter(action.id)).toBeUndefined();
      expect(await operator.replay(action.id)).toBe('unknown');
      const lease = await hands.next();
      const { acceptedAt, deadline, ...rest } = lease.action;
      expect(plain(rest)).toMatchObject({
        ...(plain({ id: action.id, target: action.target, headers: action.headers, body: action.body }) as object),
        round: 2,
        earlier: history,
      });
      // It has as much time as it had at first.
      expect(acceptedAt).toBeGreaterThanOrEqual(before);
      expect(deadline - acceptedAt).toBe(action.deadline - action.acceptedAt);
      expect(lease.progress).toEqual({ attempts: [] });
      expect(await log.find(action.id)).toMatchObject({ kind: 'open', call: { round: 2 } });
      expect(await log.find(action.id, 'payments')).toMatchObject({ kind: 'open', call: { round: 2 } });
      const awaited = log.await(action.id);
      await hands.answer(lease, 'charged');
      expect(textOf(await awaited.response)).toBe('charged');
      await expectSoon(() => log.find(action.id)).toMatchObject({
        kind: 'finished',
        response: { outcome: 'answered' },
      });
    });

    test('a replay that dies again leaves one letter with the whole history', async () => {
      const { log, operator, hands } = await set();
      const action = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [action]);
      await hands.finish(
        await hands.next(),
        givenUp(action, 'exhausted', { attempts: [anAttempt(1, 'retry-status')] }),
      );
      await operator.replay(action.id);
      const lease = await hands.next();
      await hands.finish(lease, givenUp(lease.action, 'exhausted', { attempts: [anAttempt(2, 'retry-status')] }));
      const letters = await operator.deadLetters({ limit: 10 });
      expect(letters).toHaveLength(1);
      expect(letters[0]!.history.map((record) => record.attempt)).toEqual([1, 2]);
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', response: { call: { round: 2 } } });
      expect(await log.find(action.id, 'payments')).toMatchObject({
        kind: 'finished',
        response: { call: { round: 2 } },
      });
    });

    test('a discarded letter is gone for good, and its key is free', async () => {
      const { log, operator, hands } = await set();
      const action = anAction({ id: keyedId('discard'), keyed: true });
      await storeAll(log, [action]);
      await hands.finish(await hands.next(), givenUp(action, 'outcome-unknown'));
      expect(await operator.discard(action.id)).toBe('discarded');
      expect(await operator.discard(action.id)).toBe('unknown');
      expect(await operator.replay(action.id)).toBe('unknown');
      expect(await operator.deadLetters({ limit: 10 })).toEqual([]);
      // Some engines must remember the round; then they say that it was discarded.
      const found = await log.find(action.id);
      const round = found === undefined ? 1 : 2;
      if (found !== undefined) expect(found).toMatchObject({ kind: 'finished', response: { outcome: 'discarded' } });
      const another = { ...action, round, fingerprint: 'another request' };
      const awaited = log.await(action.id);
      await storeAll(log, [another]);
      const lease = await hands.next();
      expect(lease.action.fingerprint).toBe('another request');
      await hands.answer(lease, 'another answer');
      expect(textOf(await awaited.response)).toBe('another answer');
    });

    test('nothing is known of letters that were never written', async () => {
      const { log, operator } = await set();
      const id = log.newCallId('payments');
      expect(await operator.deadLetter(id)).toBeUndefined();
      expect(await operator.replay(id)).toBe('unknown');
      expect(await operator.discard(id)).toBe('unknown');
      expect(await operator.cancel(id)).toBe('unknown');
      expect(await operator.call(id)).toBeUndefined();
    });
  });
}
