import { describe, expect, test } from 'vitest';
import type { CallerLog } from '../../../sidecar/broker/port.ts';
import { contentCallId, contentKey } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt, givenUp, keyedId } from '../events.ts';
import { Hands, storeAll, testWhere, useStage } from '../stage.ts';

/** The key of a request that says `text`. */
function keyOf(text: string): string {
  const scope = { caller: 'orders', service: 'payments', host: 'payments', method: 'POST', credentials: [] };
  return contentKey({ ...scope, fingerprint: text });
}

export function claiming(candidate: Candidate): void {
  describe('claiming a content', () => {
    const stage = useStage(candidate);

    /** Claims with an id of its own, and says whether it got that. */
    async function claim(log: CallerLog, text: string, instead?: string): Promise<{ id: string; won: boolean }> {
      const own = contentCallId('payments');
      const id = await log.claim({
        key: keyOf(text),
        service: 'payments',
        id: own,
        ...(instead !== undefined && { instead }),
      });
      return { id, won: id === own };
    }

    test('the first one stands, for every instance, and for this service only', async () => {
      const log = (await stage.open('orders', 'orders-1')).caller('orders');
      const other = (await stage.open('orders', 'orders-2')).caller('orders');
      const first = await claim(log, 'a charge');
      expect(first.won).toBe(true);
      expect(await claim(log, 'a charge')).toEqual({ id: first.id, won: false });
      expect(await claim(other, 'a charge')).toEqual({ id: first.id, won: false });
      expect(await claim(other, 'another')).toMatchObject({ won: true });
      const stranger = (await stage.open('refunds')).caller('refunds');
      expect(await claim(stranger, 'a charge')).toMatchObject({ won: true });
      expect(await log.find(first.id)).toBeUndefined();
    });

    test('it is taken over from the call that is named, and from no other', async () => {
      const log = (await stage.open('orders', 'orders-1')).caller('orders');
      const other = (await stage.open('orders', 'orders-2')).caller('orders');
      const first = await claim(log, 'a charge');
      expect(await claim(log, 'a charge', contentCallId('payments'))).toEqual({ id: first.id, won: false });
      const second = await claim(other, 'a charge', first.id);
      expect(second.won).toBe(true);
      expect(await claim(log, 'a charge', first.id)).toEqual({ id: second.id, won: false });
      expect(await claim(log, 'a charge')).toEqual({ id: second.id, won: false });
      // What is to be replaced need not be there any more.
      expect(await claim(log, 'another', first.id)).toMatchObject({ won: true });
    });

    test('of many at once one wins, and all get the id of that one', async () => {
      const logs = [
        (await stage.open('orders', 'orders-1')).caller('orders'),
        (await stage.open('orders', 'orders-2')).caller('orders'),
      ];
      let instead: string | undefined;
      for (let turn = 0; turn < 3; turn++) {
        const before = instead;
        const claims = await Promise.all(Array.from({ length: 16 }, (_, i) => claim(logs[i % 2]!, 'a charge', before)));
        expect(new Set(claims.map(({ id }) => id)).size).toBe(1);
        expect(claims.filter(({ won }) => won)).toHaveLength(1);
        expect(claims[0]!.id).not.toBe(before);
        instead = claims[0]!.id;
      }
    });

    test('a claim goes when its time is over, but not while its call is open and asked for', async () => {
      await stage.set({ retention: { keyed: 2_000 } });
      const log = (await stage.open('orders')).caller('orders');
      const open = await claim(log, 'open');
      await storeAll(log, [anAction({ id: open.id, keyed: true })]);
      const waiting = await claim(log, 'waiting');
      await storeAll(log, [anAction({ id: waiting.id, keyed: true, orderKey: 'k' })]);
      const control = await claim(log, 'control');
      let ended = 0;
      let asked = control.id;
      await eventually(
        async () => {
          expect(await claim(log, 'open')).toEqual({ id: open.id, won: false });
          expect(await claim(log, 'waiting')).toEqual({ id: waiting.id, won: false });
          const now = await claim(log, 'control');
          if (now.id !== asked) ended++;
          asked = now.id;
          // Twice over, so that one confirmation is not enough.
          if (ended < 2) throw new Error(`the control has ended ${ended} times`);
        },
        { what: 'the time to be over', timeoutMs: 30_000 },
      );
      expect(await claim(log, 'open')).toEqual({ id: open.id, won: false });
    });

    testWhere(candidate.supports.ownProcess)('claims and deliveries outlive the broker', async () => {
      const { log, hands } = await set();
      const first = await claim(log, 'a charge');
      await storeAll(log, [anAction({ id: first.id, keyed: true })]);
      await hands.answer(await hands.next(), 'paid');
      log.markDelivered(first.id, 1);
      const second = await claim(log, 'a charge', first.id);
      await stage.backend.kill!();
      await stage.backend.restart!();
      const other = (await stage.open('orders', 'orders-2')).caller('orders');
      expect(await claim(other, 'a charge')).toEqual({ id: second.id, won: false });
      expect(await claim(other, 'a charge', first.id)).toEqual({ id: second.id, won: false });
      expect(await other.find(first.id)).toMatchObject({ kind: 'finished', delivered: true });
    });

    async function set() {
      const log = (await stage.open('orders')).caller('orders');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      return { log, hands };
    }

    test('a delivery is known at once to whoever has marked it', async () => {
      const { log, hands } = await set();
      for (let i = 0; i < 20; i++) {
        const action = anAction({ id: keyedId(`at once ${i}`), keyed: true });
        await storeAll(log, [action]);
        await hands.answer(await hands.next(), 'yours');
        log.markDelivered(action.id, 1);
        expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: true });
      }
    });

    test('the answer of a later round is not delivered by that of an earlier one, however late that is marked', async () => {
      const { log, hands } = await set();
      const action = anAction({ id: keyedId('rounds of delivery'), keyed: true });
      await storeAll(log, [action]);
      const tried = [anAttempt(1, 'answer-too-large', { status: 200 })];
      await hands.finish(await hands.next(), givenUp(action, 'answer-too-large', { attempts: tried }));
      log.markDelivered(action.id, 1);
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: true });
      await storeAll(log, [{ ...action, round: 2, earlier: tried }]);
      await hands.answer(await hands.next(), 'at last');
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: false });
      log.markDelivered(action.id, 1);
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: false });
      log.markDelivered(action.id, 2);
      expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: true });
    });
  });
}
