import { describe, expect } from 'vitest';
import type { CallerLog, Lease } from '../../../sidecar/broker/port.ts';
import type { ActionEvent } from '../../../sidecar/model/call.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAttempt, givenUp, keyedId } from '../events.ts';
import { expectSoon, Hands, storeAll, testWhere, useStage } from '../stage.ts';

/** How long the calls of a dead process may take to come again, ms. */
const silenceLimit = 40_000;

export function orderKeys(candidate: Candidate): void {
  describe('order keys', () => {
    const stage = useStage(candidate);
    const ordered = testWhere(candidate.supports.orderKeys);

    async function set() {
      const orders = await stage.open('orders');
      return { orders, log: orders.caller('orders') };
    }

    function keyed(log: CallerLog, orderKey: string, fields: Partial<ActionEvent> = {}): ActionEvent {
      return anAction({ id: log.newCallId('payments'), orderKey, ...fields });
    }

    function several(log: CallerLog, orderKey: string, count: number, fields: Partial<ActionEvent> = {}) {
      return Array.from({ length: count }, () => keyed(log, orderKey, fields));
    }

    const idsOf = (calls: readonly (ActionEvent | Lease)[]) =>
      calls.map((call) => ('action' in call ? call.action.id : call.id));

    ordered('calls with one order key run one after another, over all instances', async () => {
      const { log } = await set();
      const one = Hands.open(await stage.open('payments', 'payments-1'), 'payments', 8);
      const two = Hands.open(await stage.open('payments', 'payments-2'), 'payments', 8);
      const [a1, b1, a2, a3] = [keyed(log, 'a'), keyed(log, 'b'), keyed(log, 'a'), keyed(log, 'a')];
      const free = anAction({ id: log.newCallId('payments') });
      await storeAll(log, [a1, b1, a2, a3, free]);
      const came = () => idsOf([...one.came, ...two.came]);
      const arrives = (id: string) => expectSoon(came).toContain(id);
      const ended = new Set<Lease>();
      const leaseOf = (id: string) => {
        for (const hands of [one, two]) {
          const lease = hands.came.find((each) => each.action.id === id && !ended.has(each));
          if (lease === undefined) continue;
          ended.add(lease);
          return { hands, lease };
        }
        throw new Error(`nobody has ${id}`);
      };
      // A key that waits holds up no other.
      for (const id of [a1.id, b1.id, free.id]) await arrives(id);
      expect(came()).not.toContain(a2.id);
      // A pause between two attempts is no reason to let the next one go first.
      const first = leaseOf(a1.id);
      await first.lease.start(1);
      await first.hands.postpone(first.lease, { attempts: [anAttempt(1, 'retry-status')] }, Date.now() + 100);
      await expectSoon(() => came().filter((id) => id === a1.id)).toHaveLength(2);
      expect(came()).not.toContain(a2.id);
      const again = leaseOf(a1.id);
      await again.hands.answer(again.lease, 'a1');
      await arrives(a2.id);
      expect(came()).not.toContain(a3.id);
      const second = leaseOf(a2.id);
      await second.hands.answer(second.lease, 'a2');
      await arrives(a3.id);
    });

    ordered('what was stored while nobody took it comes in its order, key by key', async () => {
      const { log } = await set();
      const queues = ['a', 'b', 'c'].map((key) => several(log, key, 10));
      for (let at = 0; at < 10; at++)
        await storeAll(
          log,
          queues.map((queue) => queue[at]!),
        );
      const one = Hands.open(await stage.open('payments', 'payments-1'), 'payments');
      const two = Hands.open(await stage.open('payments', 'payments-2'), 'payments');
      const done: string[] = [];
      await Promise.all(
        [one, two].map(async (hands) => {
          for (let at = 0; done.length < 30;) {
            const lease = hands.came[at];
            if (lease === undefined) {
              await new Promise((resolve) => setTimeout(resolve, 2));
              continue;
            }
            at++;
            const { id, orderKey } = lease.action;
            const open = idsOf([...one.came, ...two.came].filter((each) => each.action.orderKey === orderKey));
            expect(open.filter((each) => !done.includes(each))).toEqual([id]);
            done.push(id);
            await hands.answer(lease, 'done');
          }
        }),
      );
      for (const queue of queues) {
        const ids = idsOf(queue);
        expect(done.filter((id) => ids.includes(id))).toEqual(ids);
      }
    });

    ordered('hundreds that wait for one key hold up nobody', async () => {
      const { log } = await set();
      const hands = Hands.open(await stage.open('payments'), 'payments', 4);
      const stuck = several(log, 'stuck', 300);
      await Promise.all(stuck.slice(0, 1).map((action) => log.store(action)));
      const head = await hands.next();
      await head.start(1);
      await hands.postpone(head, { attempts: [anAttempt(1, 'retry-status')] }, Date.now() + 600_000);
      for (let at = 1; at < stuck.length; at += 50) {
        await Promise.all(stuck.slice(at, at + 50).map((action) => log.store(action)));
        const free = [keyed(log, `free ${at}`), anAction({ id: log.newCallId('payments') })];
        await storeAll(log, free);
        const leases = [await hands.next(), await hands.next()];
        expect(idsOf(leases).toSorted()).toEqual(idsOf(free).toSorted());
        for (const lease of leases) await hands.answer(lease, 'done');
      }
      expect(await log.find(stuck[299]!.id)).toMatchObject({ kind: 'open', activity: 'waiting' });
    });

    ordered('a head that is given up, or withdrawn, lets the next one go', async () => {
      const { log } = await set();
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const [a, b, c, d] = several(log, 'k', 4);
      await storeAll(log, [a!, b!, c!, d!]);
      const first = await hands.next();
      expect(first.action.id).toBe(a!.id);
      // One that waits may go, too, and holds no place then.
      expect(await log.withdraw(c!.id, 'cancelled')).toBe('withdrawn');
      await hands.finish(first, givenUp(a!, 'exhausted'));
      const second = await hands.next();
      expect(second.action.id).toBe(b!.id);
      expect(await log.withdraw(b!.id, 'cancelled')).toBe('withdrawn');
      expect((await hands.next()).action.id).toBe(d!.id);
    });

    ordered('a call that is withdrawn before anybody takes calls lets the next one go', async () => {
      const { log } = await set();
      const [a, b, c] = several(log, 'k', 3);
      await storeAll(log, [a!, b!, c!]);
      expect(await log.withdraw(a!.id, 'cancelled')).toBe('withdrawn');
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const lease = await hands.next();
      expect(lease.action.id).toBe(b!.id);
      await hands.answer(lease, 'done');
      expect((await hands.next()).action.id).toBe(c!.id);
    });

    ordered('a deadline that passes behind others ends the call, and nobody else’s turn', async () => {
      const { log } = await set();
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const a = keyed(log, 'k');
      const b = keyed(log, 'k', { deadline: Date.now() + 1_000 });
      const c = keyed(log, 'k');
      await storeAll(log, [a, b, c]);
      const first = await hands.next();
      await first.start(1);
      const awaited = log.await(b.id);
      expect(await awaited.response).toMatchObject({ outcome: 'deadline-exceeded' });
      expect(idsOf(hands.came)).toEqual([a.id]);
      await hands.answer(first, 'done');
      expect((await hands.next()).action.id).toBe(c.id);
    });

    ordered('a dead letter that is replayed goes behind the others', async () => {
      const { orders, log } = await set();
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const [a, b, c] = several(log, 'k', 3);
      await storeAll(log, [a!, b!, c!]);
      await hands.finish(await hands.next(), givenUp(a!, 'exhausted'));
      const second = await hands.next();
      expect(await orders.operator.replay(a!.id)).toBe('replayed');
      await hands.answer(second, 'done');
      const third = await hands.next();
      expect(third.action.id).toBe(c!.id);
      await hands.answer(third, 'done');
      const last = await hands.next();
      expect(last.action).toMatchObject({ id: a!.id, round: 2 });
    });

    ordered('a key that starts its call again at once, over and over', async () => {
      const { log } = await set();
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const action = keyed(log, 'k', { id: keyedId('again'), keyed: true });
      for (let round = 1; round <= 10; round++) {
        const stored = await log.store({ ...action, round });
        expect(stored.kind).toBe('accepted');
        const lease = await hands.next(`round ${round}`);
        expect(lease.action.round).toBe(round);
        const awaited = log.await(action.id);
        const response = givenUp({ ...action, round }, 'exhausted');
        const finishing = hands.finish(lease, response);
        await awaited.response;
        if (round % 2 === 0) await finishing;
      }
    });

    ordered(
      'the first call in order of all is found at once by an instance that has just looked there for another',
      async () => {
        const { log } = await set();
        const other = (await stage.open('orders', 'orders-2')).caller('orders');
        expect(await other.find(keyedId('nobody'), 'payments')).toBeUndefined();
        const action = keyed(log, 'k');
        await storeAll(log, [action]);
        expect(await other.find(action.id)).toMatchObject({ kind: 'open', call: { id: action.id } });
      },
    );

    ordered('a key is one call, whatever order key it is sent with', async () => {
      const { log } = await set();
      const hands = new Hands(await stage.open('payments'), 'payments');
      const action = keyed(log, 'k', { id: keyedId('same'), keyed: true });
      await storeAll(log, [keyed(log, 'k'), action]);
      for (const orderKey of ['k', 'another']) {
        expect(await log.find(action.id)).toMatchObject({ kind: 'open', call: { id: action.id } });
        expect(await log.find(action.id, 'payments')).toMatchObject({ kind: 'open', call: { id: action.id } });
        expect(await log.store({ ...action, orderKey })).toMatchObject({ kind: 'open', fingerprint: 'print' });
      }
      hands.taking.resume();
      await hands.answer(await hands.next(), 'done');
      const lease = await hands.next();
      expect(lease.action.id).toBe(action.id);
      await hands.answer(lease, 'done');
      for (const orderKey of ['k', 'another']) {
        expect(await log.store({ ...action, orderKey })).toMatchObject({ kind: 'finished' });
      }
    });

    ordered('lists and stories show what waits for its turn, once', async () => {
      const { orders, log } = await set();
      const hands = Hands.open(await stage.open('payments'), 'payments');
      const calls = several(log, 'k', 3);
      await storeAll(log, calls);
      const lease = await hands.next();
      await lease.start(1);
      const { operator } = orders;
      const listed = await operator.calls({ limit: 10 });
      expect(listed).toHaveLength(calls.length);
      const states = new Map(listed.map(({ call, state }) => [call.id, state]));
      expect(calls.map(({ id }) => states.get(id))).toEqual(['attempting', 'waiting', 'waiting']);
      expect(await operator.call(calls[2]!.id)).toMatchObject({ state: 'waiting' });
      expect(await operator.cancel(calls[2]!.id)).toBe('withdrawn');
      expect(await operator.call(calls[2]!.id)).toMatchObject({ state: 'cancelled' });
      await expectSoon(() => stage.problems).toEqual([]);
    });

    ordered('an instance that is killed with a call gives its turn to nobody else', async () => {
      const { log } = await set();
      const calls = several(log, 'k', 3, { idempotent: true });
      await storeAll(log, calls);
      const child = await stage.send({ kind: 'hold', start: true, text: 'never' });
      expect(await child.tells('holds')).toEqual([calls[0]!.id]);
      const hands = Hands.open(await stage.open('payments'), 'payments');
      await child.process.kill9();
      for (const { id } of calls) {
        const lease = await hands.next('the next call', silenceLimit);
        expect(lease.action.id).toBe(id);
        await hands.answer(lease, 'done');
      }
    });

    ordered('an instance that is killed while it finishes a call', async () => {
      const { log } = await set();
      const hands = new Hands(await stage.open('payments'), 'payments');
      for (const turns of [2]) {
        const calls = several(log, `k ${turns}`, 2, { idempotent: true });
        await storeAll(log, calls);
        const child = await stage.send({ kind: 'die-underway', operation: { name: 'finish' }, turns });
        await child.process.exited;
        hands.taking.resume();
        for (let left = 2; left > 0;) {
          const lease = await hands.next('the next call', silenceLimit);
          const first = lease.action.id === calls[0]!.id;
          if (!first) expect(lease.action.id).toBe(calls[1]!.id);
          await hands.answer(lease, 'done');
          left = first ? 1 : 0;
        }
        hands.taking.pause();
      }
    });

    testWhere(candidate.supports.ownProcess)('order holds over a kill of the backend', async () => {
      if (candidate.supports.orderKeys !== true) return;
      const { log } = await set();
      const one = Hands.open(await stage.open('payments', 'payments-1'), 'payments');
      const calls = several(log, 'k', 6);
      const ids = idsOf(calls);
      await storeAll(log, calls);
      const next = async (place: number) => {
        for (;;) {
          const lease = await one.next('the next call', silenceLimit);
          // What the killed backend forgot may come again; it has been answered.
          if (!ids.slice(0, place).includes(lease.action.id)) return lease;
          await one.answer(lease, 'again');
        }
      };
      for (const [at, action] of calls.entries()) {
        const lease = await next(at);
        expect(lease.action.id).toBe(action.id);
        if (at === 2) {
          await stage.backend.kill!();
          const finishing = one.answer(lease, 'done');
          await stage.backend.restart!();
          await finishing;
        } else await one.answer(lease, 'done');
        // The caller's side may come back later than the callee's.
        await expectSoon(() => log.find(action.id).catch(String)).toMatchObject({ kind: 'finished' });
      }
    });
  });
}
