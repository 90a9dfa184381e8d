import { describe, expect, test } from 'vitest';
import type { Broker, Lease } from '../../../sidecar/broker/port.ts';
import type { ActionEvent } from '../../../sidecar/model/call.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, givenUp, keyedId, textOf } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

const callback = { method: 'POST', target: '/charge-done?x=1' };
/** Turns of the event loop after which a process that ends a call is killed. */
const cuts = [0, 1, 2, 4, 8, 16, 32];
/** How long the calls of a dead process may take to come again, ms. */
const silenceLimit = 40_000;

export function callbacks(candidate: Candidate): void {
  describe('callbacks', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      return {
        orders,
        log: orders.caller('orders'),
        hands: Hands.open(payments, 'payments'),
        own: Hands.open(orders, 'orders'),
      };
    }

    async function aCall(broker: Broker, fields: Partial<ActionEvent> = {}): Promise<ActionEvent> {
      const log = broker.caller('orders');
      const action = anAction({ id: log.newCallId('payments'), callback, ...fields });
      await storeAll(log, [action]);
      return action;
    }

    function problemIn({ action }: Lease): unknown {
      return JSON.parse(Buffer.from(action.body).toString());
    }

    test('the answer becomes a call to the caller’s own service, which says whose answer it is', async () => {
      const { orders, hands, own } = await set();
      const action = await aCall(orders);
      const response = await hands.answer(await hands.next(), 'charged');
      const lease = await own.next('the callback');
      expect(lease.action).toMatchObject({
        caller: 'payments',
        service: 'orders',
        route: 'charge.callback',
        ...callback,
        headers: ['Content-Type', 'text/plain'],
        round: 1,
        idempotent: true,
        acceptedAt: response.finishedAt,
        answerTo: { id: action.id, status: 200 },
      });
      expect(Buffer.from(lease.action.body).toString()).toBe('charged');
      expect(lease.action.deadline - lease.action.acceptedAt).toBe(action.deadline - action.acceptedAt);
      expect(lease.action).not.toHaveProperty('callback');
      await lease.start(1);
      await own.answer(lease, 'thank you');
      const told = await orders.caller('payments').find(lease.action.id);
      expect(told?.kind === 'finished' && textOf(told.response)).toBe('thank you');
      await expectSoon(() => own.taking.backlog()).toEqual({ waiting: 0 });
      await expectSoon(() => hands.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('a call that nobody asked to be told about leaves none', async () => {
      const { orders, log, hands, own } = await set();
      await storeAll(log, [anAction({ id: log.newCallId('payments') })]);
      await hands.answer(await hands.next(), 'charged');
      await aCall(orders);
      await hands.answer(await hands.next(), 'charged too');
      const lease = await own.next('the callback');
      expect(Buffer.from(lease.action.body).toString()).toBe('charged too');
    });

    test('a dead letter is told as GET tells it, and once more when a replay was answered', async () => {
      const { orders, hands, own } = await set();
      const action = await aCall(orders, { id: keyedId('told'), keyed: true });
      const attempts = [anAttempt(1, 'no-answer', { detail: 'timeout' })];
      await hands.finish(await hands.next(), givenUp(action, 'outcome-unknown', { attempts }));
      const first = await own.next('the callback of the dead letter');
      expect(first.action.answerTo).toEqual({ id: action.id, status: 502 });
      expect(first.action.headers).toContain('application/problem+json');
      expect(problemIn(first)).toMatchObject({ type: 'urn:holdline:problem:outcome-unknown', callId: action.id });
      await own.answer(first, 'noted');
      expect(await orders.operator.replay(action.id)).toBe('replayed');
      await hands.answer(await hands.next('the next round'), 'charged at last');
      const second = await own.next('the callback of the answer');
      expect(second.action.id).not.toBe(first.action.id);
      expect(second.action.answerTo).toEqual({ id: action.id, status: 200 });
      expect(Buffer.from(second.action.body).toString()).toBe('charged at last');
    });

    test('the last real answer of an exhausted call is told as such', async () => {
      const { orders, hands, own } = await set();
      const action = await aCall(orders);
      const progress = {
        attempts: [anAttempt(1, 'retry-status', { status: 503 })],
        answer: anAnswer('busy', { status: 503 }),
      };
      await hands.finish(await hands.next(), givenUp(action, 'exhausted', progress));
      const lease = await own.next('the callback');
      expect(lease.action.answerTo).toEqual({ id: action.id, status: 503 });
      expect(lease.action.headers.join(' ')).toContain('Holdline-Outcome exhausted');
      expect(Buffer.from(lease.action.body).toString()).toBe('busy');
    });

    test('a call that is taken back is told, whoever does it', async () => {
      const { orders, log, hands, own } = await set();
      hands.taking.pause();
      const byCaller = await aCall(orders);
      const byOperator = await aCall(orders);
      const byTime = await aCall(orders, { deadline: Date.now() + 300 });
      expect(await log.withdraw(byCaller.id, 'cancelled')).toBe('withdrawn');
      expect(await orders.operator.cancel(byOperator.id)).toBe('withdrawn');
      const leases = [await own.next(), await own.next(), await own.next()];
      const told = new Map(leases.map((lease) => [lease.action.answerTo?.id, problemIn(lease)]));
      const type = 'urn:holdline:problem:';
      expect(told.get(byCaller.id)).toMatchObject({ type: `${type}cancelled`, status: 410 });
      expect(told.get(byOperator.id)).toMatchObject({ type: `${type}cancelled`, status: 410 });
      expect(told.get(byTime.id)).toMatchObject({ type: `${type}deadline-exceeded`, status: 504 });
    });

    test('kill -9 of the one who ends the call: the answer that is stored is told all the same', async () => {
      const { orders, log, hands, own } = await set();
      hands.taking.pause();
      const calls: ActionEvent[] = [];
      for (const _ of cuts) calls.push(await aCall(orders, { idempotent: true }));
      const children = await Promise.all(
        cuts.map((turns) => stage.send({ kind: 'die-underway', operation: { name: 'finish' }, turns })),
      );
      for (const child of children) expect((await child.process.exited).signal).toBe('SIGKILL');
      hands.taking.resume();
      // What was not stored comes again, and is answered by the living.
      let answered = 0;
      const told = new Map<string, Lease>();
      await expectSoon(async () => {
        for (const lease of hands.came.slice(answered)) {
          answered++;
          await hands.answer(lease, 'from the living');
        }
        for (const lease of own.came) told.set(lease.action.answerTo?.id ?? '', lease);
        return calls.filter(({ id }) => !told.has(id)).length;
      }, silenceLimit).toBe(0);
      for (const { id } of calls) {
        const found = await log.find(id);
        const text = found?.kind === 'finished' ? textOf(found.response) : undefined;
        expect(Buffer.from(told.get(id)!.action.body).toString()).toBe(text);
      }
      expect(new Set(own.came.map((lease) => lease.action.id)).size).toBe(calls.length);
    });
  });
}
