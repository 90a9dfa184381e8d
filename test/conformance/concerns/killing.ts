import { describe, expect, test } from 'vitest';
import type { ActionEvent } from '../../../sidecar/model/call.ts';
import type { Candidate } from '../backend.ts';
import type { Operation } from '../errand.ts';
import { contentCallId } from '../../../sidecar/model/call-id.ts';
import { anAction, answered, givenUp, keyedId, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage, type Child } from '../stage.ts';

/** How long the calls of a dead process may take to come again, ms. */
const silenceLimit = 40_000;
/** Turns of the event loop after which an operation is cut off. */
const cuts = [0, 1, 2, 4, 8];

export function killing(candidate: Candidate): void {
  describe('kill -9', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      return { orders, log: orders.caller('orders'), hands: new Hands(payments, 'payments') };
    }

    async function dead(child: Child): Promise<void> {
      const exit = await child.process.exited;
      expect(exit.signal, child.process.logs).toBe('SIGKILL');
    }

    async function acknowledged(operation: Operation): Promise<void> {
      await dead(await stage.send({ kind: 'die-acknowledged', operation }));
    }

    function storing(action: ActionEvent): Operation {
      const { body: _, ...rest } = action;
      return { name: 'store', action: rest, body: 'a charge' };
    }

    describe('in the moment of the acknowledgement: what was acknowledged is true', () => {
      test('store: the call is there', async () => {
        const { log, hands } = await set();
        hands.taking.resume();
        for (let i = 0; i < 5; i++) {
          const action = anAction({ id: log.newCallId('payments') });
          await acknowledged(storing(action));
          expect(await log.find(action.id)).toMatchObject({ kind: 'open' });
          const lease = await hands.next();
          expect(lease.action.id).toBe(action.id);
          await hands.answer(lease, 'done');
        }
      });

      test('start of a guarded call: it is known to have started', async () => {
        const { log, hands } = await set();
        const action = anAction({ id: log.newCallId('payments') });
        await storeAll(log, [action]);
        await acknowledged({ name: 'start' });
        hands.taking.resume();
        const lease = await hands.next('the call of the dead', silenceLimit);
        expect(lease.progress.started).toMatchObject({ attempt: 1, instance: 'mortal' });
        await hands.finish(lease, givenUp(action, 'outcome-unknown', lease.progress));
      });

      test('postpone: what was remembered is there', async () => {
        const { log, hands } = await set();
        await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
        await acknowledged({ name: 'postpone' });
        hands.taking.resume();
        const lease = await hands.next('the call of the dead', silenceLimit);
        expect(lease.progress).toMatchObject({ attempts: [{ attempt: 1, evidence: 'retry-status', status: 503 }] });
      });

      test('release: the start is taken back', async () => {
        const { log, hands } = await set();
        await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
        await acknowledged({ name: 'start-release' });
        hands.taking.resume();
        const lease = await hands.next('the call of the dead', silenceLimit);
        expect(lease.progress).toEqual({ attempts: [] });
        expect(lease.unaccounted).toBe(0);
      });

      test('finish: the answer is there, and the call does not come again', async () => {
        const { log, hands } = await set();
        for (let i = 0; i < 3; i++) {
          const action = anAction({ id: log.newCallId('payments') });
          await storeAll(log, [action]);
          await acknowledged({ name: 'finish' });
          const found = await log.find(action.id);
          expect(found?.kind === 'finished' && textOf(found.response)).toBe('from the dead');
        }
        hands.taking.resume();
        const marker = anAction({ id: log.newCallId('payments') });
        await storeAll(log, [marker]);
        expect((await hands.next()).action.id).toBe(marker.id);
      });

      test('finish with a dead letter: response and letter are there', async () => {
        const { orders, log } = await set();
        const action = anAction({ id: log.newCallId('payments') });
        await storeAll(log, [action]);
        await acknowledged({ name: 'finish-dead' });
        expect(await log.find(action.id)).toMatchObject({ response: { outcome: 'exhausted' } });
        expect(await orders.operator.deadLetter(action.id)).toMatchObject({ reason: 'exhausted' });
      });

      test('withdraw: the call is cancelled', async () => {
        const { log, hands } = await set();
        const action = anAction({ id: log.newCallId('payments') });
        await storeAll(log, [action]);
        await acknowledged({ name: 'withdraw', id: action.id });
        expect(await log.find(action.id)).toMatchObject({ response: { outcome: 'cancelled' } });
        hands.taking.resume();
        const marker = anAction({ id: log.newCallId('payments') });
        await storeAll(log, [marker]);
        expect((await hands.next()).action.id).toBe(marker.id);
      });

      test('replay and discard: the letter is gone, and what it stood for is done', async () => {
        const { orders, log, hands } = await set();
        hands.taking.resume();
        for (const name of ['replay', 'discard'] as const) {
          const action = anAction({ id: log.newCallId('payments') });
          await storeAll(log, [action]);
          await hands.finish(await hands.next(), givenUp(action, 'exhausted'));
          await acknowledged({ name, id: action.id });
          expect(await orders.operator.deadLetter(action.id)).toBeUndefined();
          if (name === 'replay') await hands.answer(await hands.next(), 'again');
        }
      });

      test('claim: the content stands for the call, which is stored under the id that the dead has claimed', async () => {
        const { log, hands } = await set();
        hands.taking.resume();
        for (let i = 0; i < 3; i++) {
          const claim = { key: `content-${i}`, service: 'payments', id: contentCallId('payments') };
          await acknowledged({ name: 'claim', claim });
          expect(await log.claim({ ...claim, id: contentCallId('payments') })).toBe(claim.id);
          expect(await log.find(claim.id)).toBeUndefined();
          await storeAll(log, [anAction({ id: claim.id, keyed: true })]);
          await hands.answer(await hands.next(), 'done');
          expect(await log.find(claim.id)).toMatchObject({ kind: 'finished', delivered: false });
        }
      });

      test('a delivery to the caller that was marked before a later store is remembered', async () => {
        const { log, hands } = await set();
        hands.taking.resume();
        const action = anAction({ id: keyedId('marked'), keyed: true });
        await storeAll(log, [action]);
        await hands.answer(await hands.next(), 'yours');
        await acknowledged({ name: 'mark-delivered', id: action.id });
        expect(await log.find(action.id)).toMatchObject({ kind: 'finished', delivered: true });
      });
    });

    describe('in the middle of an operation: it is done whole, or not at all', () => {
      async function cutOff(operation: Operation, turns: number): Promise<void> {
        await dead(await stage.send({ kind: 'die-underway', operation, turns }));
      }

      test('store', async () => {
        const { log, hands } = await set();
        hands.taking.resume();
        for (const turns of cuts) {
          const action = anAction({ id: log.newCallId('payments') });
          await cutOff(storing(action), turns);
          const found = await log.find(action.id);
          if (found === undefined) await storeAll(log, [action]);
          const lease = await hands.next();
          expect(lease.action.id).toBe(action.id);
          await hands.answer(lease, 'done');
        }
      });

      for (const name of ['finish', 'finish-dead'] as const) {
        test(`${name}: response and letter`, async () => {
          const { orders, log, hands } = await set();
          for (const turns of cuts) {
            const action = anAction({ id: log.newCallId('payments'), idempotent: true });
            const awaited = log.await(action.id);
            await storeAll(log, [action]);
            await cutOff({ name }, turns);
            hands.taking.resume();
            const first = await Promise.race([
              hands.next('the call of the dead', silenceLimit).then((lease) => ({ lease })),
              awaited.response.then((response) => ({ response })),
            ]);
            if ('lease' in first) {
              // Not stored, so it comes again. It may have been stored after all by the time that we answer.
              await hands.answer(first.lease, 'from the living');
            } else {
              hands.skip();
            }
            const response = await awaited.response;
            const found = await log.find(action.id);
            expect(found).toMatchObject({ kind: 'finished', response: { outcome: response.outcome } });
            const letter = await orders.operator.deadLetter(action.id);
            expect(letter === undefined).toBe(response.outcome === 'answered');
            await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
            hands.taking.pause();
          }
        });
      }

      test('postpone', async () => {
        const { log, hands } = await set();
        for (const turns of cuts) {
          const action = anAction({ id: log.newCallId('payments'), idempotent: true });
          await storeAll(log, [action]);
          await cutOff({ name: 'postpone' }, turns);
          hands.taking.resume();
          const lease = await hands.next('the call of the dead', silenceLimit);
          expect(lease.action.id).toBe(action.id);
          expect(lease.progress.attempts.length).toBeLessThanOrEqual(1);
          await hands.answer(lease, 'done');
          hands.taking.pause();
        }
      });

      test('replay', async () => {
        const { orders, log, hands } = await set();
        hands.taking.resume();
        for (const turns of cuts) {
          const action = anAction({ id: log.newCallId('payments') });
          await storeAll(log, [action]);
          await hands.finish(await hands.next(), givenUp(action, 'exhausted'));
          await cutOff({ name: 'replay', id: action.id }, turns);
          // Cut off between its two halves, a letter may lie there although its next round is open: replaying is repeatable.
          await orders.operator.replay(action.id);
          const lease = await hands.next();
          expect(lease.action).toMatchObject({ id: action.id, round: 2 });
          await hands.answer(lease, 'done');
          expect(await orders.operator.deadLetters({ limit: 10 })).toEqual([]);
        }
      });
    });

    test('of a process that stores without end: everything that it acknowledged is delivered', async () => {
      const { hands } = await set();
      hands.slots = 100_000;
      const acknowledgedIds: string[] = [];
      for (const least of [1, 40, 150]) {
        const child = await stage.send({ kind: 'store-without-end' });
        await child.tells('accepted', least);
        await child.process.kill9();
        acknowledgedIds.push(...child.told('accepted'));
      }
      hands.taking.resume();
      await expectSoon(() => {
        const came = new Set(hands.came.map((lease) => lease.action.id));
        return acknowledgedIds.filter((id) => !came.has(id));
      }).toEqual([]);
    });

    test('of processes that work without end: no answer is lost or replaced, no guarded call is sent twice', async () => {
      const { log, hands } = await set();
      const actions = Array.from({ length: 80 }, (_, i) => {
        return anAction({
          id: log.newCallId('payments'),
          idempotent: i % 2 === 0,
          route: i % 2 === 0 ? 'safe' : 'guarded',
        });
      });
      await storeAll(log, actions);
      const children: Child[] = [];
      for (const [index, least] of [5, 12, 8].entries()) {
        const child = await stage.send({ kind: 'work-without-end', instance: `worker-${index}`, seed: 4711 + index });
        children.push(child);
        await child.tells('sent', least);
        await child.process.kill9();
      }
      // The rest is done here. A guarded call that was sent and not given back must say so.
      const sentBy = new Map<string, number>();
      const returned = new Map<string, number>();
      const count = (map: Map<string, number>, id: string) => map.set(id, (map.get(id) ?? 0) + 1);
      for (const child of children) {
        for (const line of child.told('sent')) count(sentBy, line.split(' ')[0]!);
        for (const id of child.told('giving-back')) count(returned, id);
      }
      hands.taking.resume();
      const finish = async (): Promise<void> => {
        const lease = await hands.next('the next call', silenceLimit);
        const { action, progress } = lease;
        if (!action.idempotent && progress.started === undefined) {
          expect(sentBy.get(action.id) ?? 0, `sent and not given back: ${action.id}`).toBeLessThanOrEqual(
            returned.get(action.id) ?? 0,
          );
        }
        const response =
          progress.started === undefined
            ? answered(action, 'by the survivor', progress)
            : givenUp(action, 'outcome-unknown', progress);
        await hands.finish(lease, response);
      };
      let finished = 0;
      for (;;) {
        const { waiting } = await hands.taking.backlog();
        if (waiting === 0) break;
        // What is settled may still be counted for a moment, so the next call need not come.
        if (hands.came.length === finished) continue;
        await finish();
        finished++;
      }
      const told = new Map(
        children
          .flatMap((child) => child.told('finished'))
          .map((line) => {
            const [id, ...text] = line.split(' ');
            return [id!, text.join(' ')];
          }),
      );
      expect(told.size).toBeGreaterThan(0);
      for (const action of actions) {
        const found = await log.find(action.id);
        expect(found).toMatchObject({ kind: 'finished' });
        const text = told.get(action.id);
        if (text !== undefined) expect(found?.kind === 'finished' && textOf(found.response)).toBe(text);
        if (!action.idempotent) {
          expect(sentBy.get(action.id) ?? 0).toBeLessThanOrEqual((returned.get(action.id) ?? 0) + 1);
        }
      }
    });
  });
}
