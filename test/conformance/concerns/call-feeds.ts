import { describe, expect, test } from 'vitest';
import type { Lease } from '../../../sidecar/broker/port.ts';
import type { ActionEvent } from '../../../sidecar/model/call.ts';
import { callTopic } from '../../../sidecar/policy/topic.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, givenUp } from '../events.ts';
import { expectSoon, Hands, storeAll, useStage } from '../stage.ts';

/** Turns of the event loop after which a process that ends a call is killed. */
const cuts = [0, 1, 2, 4, 8, 16, 32];
/** How long the calls of a dead process may take to come again, ms. */
const silenceLimit = 40_000;

export function callFeeds(candidate: Candidate): void {
  describe('call feeds', () => {
    const stage = useStage(candidate);

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      let publishes = true;
      const hands = new Hands(payments, 'payments', 64, (take) =>
        payments.callee('payments').take({ ...take, publishCalls: () => publishes }),
      );
      hands.taking.resume();
      const topic = callTopic('payments');
      const audit = Hands.subscribe(await stage.open('audit'), 'audit', { name: 'a', topic, from: { kind: 'first' } });
      return {
        orders,
        log: orders.caller('orders'),
        hands,
        audit,
        publish: (yes: boolean) => (publishes = yes),
      };
    }

    function eventIn({ action }: Lease): { id: string; data: { call: { id: string }; response: { body?: string } } } {
      return JSON.parse(Buffer.from(action.body).toString()) as ReturnType<typeof eventIn>;
    }

    test('each finished call of the service is one event, whole and once', async () => {
      const { log, hands, audit } = await set();
      const action = anAction({ id: log.newCallId('payments'), target: '/charges?x=1' });
      await storeAll(log, [action]);
      const response = await hands.answer(await hands.next(), 'charged');
      const lease = await audit.next('the event of the call');
      expect(lease.action).toMatchObject({
        caller: 'payments',
        service: 'audit',
        headers: ['Content-Type', 'application/cloudevents+json; charset=utf-8'],
        delivery: { topic: '$call.payments', call: { method: 'POST', target: '/charges?x=1', status: 200 } },
      });
      expect(eventIn(lease)).toMatchObject({
        id: lease.action.delivery?.event,
        source: '/services/payments',
        data: {
          call: { id: action.id, caller: 'orders', service: 'payments', outcome: 'answered' },
          request: { headers: { host: 'payments', 'content-type': 'text/plain' }, body: 'a charge' },
          response: { status: 200, headers: { 'content-type': 'text/plain' }, body: 'charged' },
          attempts: 1,
          answeredAt: new Date(response.finishedAt).toISOString(),
        },
      });
      await audit.answer(lease, 'noted');
      await expectSoon(() => audit.taking.backlog()).toEqual({ waiting: 0 });
    });

    test('so is one that Holdline gave up; one that the service never saw is not, nor one while it is switched off', async () => {
      const { orders, log, hands, audit, publish } = await set();
      const action = (fields: Partial<ActionEvent> = {}) => anAction({ id: log.newCallId('payments'), ...fields });
      hands.taking.pause();
      const cancelled = action();
      await storeAll(log, [cancelled]);
      expect(await orders.operator.cancel(cancelled.id)).toBe('withdrawn');
      hands.taking.resume();
      publish(false);
      await storeAll(log, [action()]);
      await hands.answer(await hands.next(), 'secret');
      publish(true);
      const dead = action();
      await storeAll(log, [dead]);
      const attempts = [anAttempt(1, 'no-answer', { detail: 'reset' })];
      await hands.finish(await hands.next(), givenUp(dead, 'outcome-unknown', { attempts }));
      const lease = await audit.next('the event of the dead letter');
      expect(eventIn(lease)).toMatchObject({ data: { call: { id: dead.id, outcome: 'outcome-unknown' } } });
      expect(lease.action.delivery?.call?.status).toBe(502);
    });

    test('and one whose deadline passes while it waits for its next attempt', async () => {
      const { log, hands, audit } = await set();
      const action = anAction({ id: log.newCallId('payments'), deadline: Date.now() + 1_500 });
      await storeAll(log, [action]);
      const lease = await hands.next();
      await lease.start(1);
      const attempts = [anAttempt(1, 'retry-status', { status: 503 })];
      await hands.postpone(lease, { attempts, answer: anAnswer('busy', { status: 503 }) }, Date.now() + 60_000);
      hands.taking.pause();
      const told = eventIn(await audit.next('the event of the overdue call'));
      expect(told).toMatchObject({ data: { call: { id: action.id, outcome: 'deadline-exceeded' }, attempts: 1 } });
      expect(told.data.response.body).toBe('busy');
    });

    test('kill -9 of the one who ends the call: what is stored as its answer is published all the same', async () => {
      const { log, hands, audit } = await set();
      hands.taking.pause();
      const actions = cuts.map(() => anAction({ id: log.newCallId('payments'), idempotent: true }));
      await storeAll(log, actions);
      const operation = { name: 'finish', publish: true } as const;
      const children = await Promise.all(cuts.map((turns) => stage.send({ kind: 'die-underway', operation, turns })));
      for (const child of children) expect((await child.process.exited).signal).toBe('SIGKILL');
      hands.taking.resume();
      let answered = 0;
      const told = new Map<string, ReturnType<typeof eventIn>>();
      await expectSoon(async () => {
        for (const lease of hands.came.slice(answered)) {
          answered++;
          await hands.answer(lease, 'from the living');
        }
        for (const lease of audit.came) told.set(eventIn(lease).data.call.id, eventIn(lease));
        return actions.filter(({ id }) => !told.has(id)).length;
      }, silenceLimit).toBe(0);
      for (const { id } of actions) {
        const found = await log.find(id);
        const body = found?.kind === 'finished' ? found.response.answer?.body : undefined;
        expect(told.get(id)!.data.response.body).toBe(Buffer.from(body!).toString());
      }
      expect(new Set(audit.came.map(({ action }) => action.delivery?.event)).size).toBe(actions.length);
    });
  });
}
