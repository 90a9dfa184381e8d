import { describe, expect, test } from 'vitest';
import { BodyLost, type Broker, BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import type { BodyRef } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import type { Candidate } from '../backend.ts';
import { anAction, anAnswer, anAttempt, answered, givenUp, keyedId } from '../events.ts';
import { aBody, digestOf, placeOf } from '../large-body.ts';
import { expectSoon, Hands, storeAll, testWhere, useStage } from '../stage.ts';

const never = new AbortController().signal;

export function bodies(candidate: Candidate): void {
  describe('bodies that are too large for an event', () => {
    const stage = useStage(candidate);
    const large = 3_000_001;

    async function set() {
      const orders = await stage.open('orders');
      const payments = await stage.open('payments');
      return { orders, payments, log: orders.caller('orders'), hands: Hands.open(payments, 'payments') };
    }

    function isGone(broker: Broker, ref: BodyRef): Promise<void> {
      return eventually(() => expect(digestOf(broker.bodies.read(ref))).rejects.toThrow(BodyLost), {
        what: 'the body to be gone',
      });
    }

    async function write(broker: Broker, id: string, size = large, seed = 1): Promise<BodyRef> {
      return await broker.bodies.write(placeOf(id), aBody(size, seed), never);
    }

    test.each([1, 256 * 1024, 256 * 1024 + 1, large])('of %i bytes come out as they went in', async (size) => {
      const { orders, payments, log } = await set();
      const id = log.newCallId('payments');
      for (const kind of ['request', 'answer', 'lasting-answer'] as const) {
        for (const keyed of [false, true]) {
          const place = placeOf(keyed ? keyedId('large') : id, kind, keyed);
          const ref = await orders.bodies.write(place, aBody(size), never);
          const expected = await digestOf(aBody(size));
          expect(ref).toMatchObject(expected);
          expect(await digestOf(payments.bodies.read(ref))).toEqual(expected);
        }
      }
    });

    test('an event that refers to one is what it was when it comes out', async () => {
      const { orders, log, hands } = await set();
      const id = log.newCallId('payments');
      const bodyRef = await write(orders, id);
      await storeAll(log, [anAction({ id, body: Buffer.alloc(0), bodyRef })]);
      const lease = await hands.next();
      expect(lease.action.bodyRef).toEqual(bodyRef);
      const awaited = log.await(id);
      await lease.start(1);
      const answer = anAnswer('', { bodyRef: { ...bodyRef, size: 7 } });
      const response = answered(lease.action, '');
      await hands.finish(lease, { ...response, answer });
      expect((await awaited.response).answer).toMatchObject({ bodyRef: answer.bodyRef });
    });

    test('several can be read at once, also the same one', async () => {
      const { orders, payments, log } = await set();
      const refs = await Promise.all(
        [1, 2, 3].map(async (seed) => ({ seed, ref: await write(orders, log.newCallId('payments'), large, seed) })),
      );
      const reads = [...refs, ...refs, ...refs].map(async ({ seed, ref }) => {
        expect(await digestOf(payments.bodies.read(ref))).toEqual(await digestOf(aBody(large, seed)));
      });
      await Promise.all(reads);
    });

    test('one is gone when its call is answered, and not before', async () => {
      const { orders, log, hands } = await set();
      const id = log.newCallId('payments');
      const bodyRef = await write(orders, id);
      await storeAll(log, [anAction({ id, body: Buffer.alloc(0), bodyRef })]);
      const lease = await hands.next();
      await lease.start(1);
      await orders.bodies.forget(bodyRef);
      expect(await digestOf(orders.bodies.read(bodyRef))).toMatchObject({ size: large });
      await hands.answer(lease, 'done');
      await isGone(orders, bodyRef);
    });

    test('one is gone when its call is cancelled', async () => {
      const { orders, log, hands } = await set();
      hands.taking.pause();
      const id = log.newCallId('payments');
      const bodyRef = await write(orders, id);
      await storeAll(log, [anAction({ id, body: Buffer.alloc(0), bodyRef })]);
      expect(await log.withdraw(id, 'cancelled')).toBe('withdrawn');
      await isGone(orders, bodyRef);
    });

    test('one stays as long as the dead letter does: a replay can be carried out', async () => {
      const { orders, log, hands } = await set();
      const id = log.newCallId('payments');
      const bodyRef = await write(orders, id);
      await storeAll(log, [anAction({ id, body: Buffer.alloc(0), bodyRef })]);
      const first = await hands.next();
      await hands.finish(first, givenUp(first.action, 'exhausted'));
      await orders.bodies.forget(bodyRef);
      expect(await orders.operator.replay(id)).toBe('replayed');
      const again = await hands.next();
      expect(again.action.bodyRef).toEqual(bodyRef);
      expect(await digestOf(orders.bodies.read(bodyRef))).toMatchObject({ size: large });
      await again.start(1);
      await hands.answer(again, 'at last');
      await isGone(orders, bodyRef);
    });

    test('one is gone when its dead letter is discarded', async () => {
      const { orders, log, hands } = await set();
      const id = log.newCallId('payments');
      const bodyRef = await write(orders, id);
      await storeAll(log, [anAction({ id, body: Buffer.alloc(0), bodyRef })]);
      const lease = await hands.next();
      await hands.finish(lease, givenUp(lease.action, 'exhausted'));
      expect(await orders.operator.discard(id)).toBe('discarded');
      await isGone(orders, bodyRef);
    });

    test('that of an answer which another takes the place of is gone, the last one stays', async () => {
      const { orders, payments, log, hands } = await set();
      const id = log.newCallId('payments');
      await storeAll(log, [anAction({ id })]);
      const refs: BodyRef[] = [];
      for (const attempt of [1, 2]) {
        const lease = await hands.next();
        await lease.start(attempt);
        const ref = await payments.bodies.write(placeOf(id, 'lasting-answer'), aBody(large, attempt), never);
        refs.push(ref);
        const tried = anAttempt(attempt, 'retry-status', { status: 503 });
        const progress = { attempts: [...lease.progress.attempts, tried], answer: anAnswer('', { bodyRef: ref }) };
        await hands.postpone(lease, progress, Date.now());
      }
      const lease = await hands.next();
      expect(lease.progress.answer?.bodyRef).toEqual(refs[1]);
      await isGone(orders, refs[0]!);
      await hands.finish(lease, givenUp(lease.action, 'exhausted', lease.progress));
      await orders.bodies.forget(refs[1]!);
      expect(await digestOf(orders.bodies.read(refs[1]!))).toMatchObject({ size: large });
    });

    test('that of an answer goes with the retention of responses', async () => {
      await stage.set({ retention: { responses: 1_000 } });
      const { orders, payments, log, hands } = await set();
      const id = log.newCallId('payments');
      await storeAll(log, [anAction({ id })]);
      const lease = await hands.next();
      await lease.start(1);
      const bodyRef = await payments.bodies.write(placeOf(id, 'answer'), aBody(large), never);
      await hands.finish(lease, { ...answered(lease.action, ''), answer: anAnswer('', { bodyRef }) });
      expect(await digestOf(orders.bodies.read(bodyRef))).toMatchObject({ size: large });
      await isGone(orders, bodyRef);
    });

    test('one of which the sender does not come to the end is not kept', async () => {
      const { orders, log } = await set();
      const sent: number[] = [];
      async function* broken(): AsyncGenerator<Buffer, void, undefined> {
        for await (const bytes of aBody(large)) {
          yield bytes;
          sent.push(bytes.length);
        }
        throw new Error('the caller went away');
      }
      const id = log.newCallId('payments');
      await expect(orders.bodies.write(placeOf(id), broken(), never)).rejects.toThrow('the caller went away');
      expect(sent.length).toBeGreaterThan(10);
      await expectSoon(() => stage.backend.bodyChunks()).toBe(0);
    });

    test('one that is given up right before the end is not kept', async () => {
      const { orders, payments, log } = await set();
      const stop = new AbortController();
      const place = placeOf(log.newCallId('payments'));
      const writing = orders.bodies.write(place, aBody(1_000_000_000), stop.signal);
      await expectSoon(() => stage.backend.bodyChunks()).toBeGreaterThan(5);
      stop.abort(new Error('shutting down'));
      await expect(writing).rejects.toThrow('shutting down');
      await orders.close(5_000);
      await expectSoon(() => stage.backend.bodyChunks()).toBe(0);
      expect(payments.status.connected).toBe(true);
    });

    test('a chunk that is missing or another is found before the end', async () => {
      const { orders, log } = await set();
      for (const damage of ['missing', 'corrupt'] as const) {
        const ref = await write(orders, log.newCallId('payments'));
        await stage.backend.damage(ref, 5, damage);
        const read: Uint8Array[] = [];
        const reading = (async () => {
          for await (const bytes of orders.bodies.read(ref)) read.push(bytes);
        })();
        await expect(reading).rejects.toThrow(BodyLost);
        expect(read.length).toBeLessThan(ref.chunks);
      }
    });

    test('a reference that leads nowhere is a lost body', async () => {
      const { orders, log } = await set();
      const ref = await write(orders, log.newCallId('payments'), 10);
      for (const id of [`${ref.id}x`, 'holdline.act.payments.orders.x', '', '*', '>']) {
        await expect(digestOf(orders.bodies.read({ ...ref, id }))).rejects.toThrow(BodyLost);
        await orders.bodies.forget({ ...ref, id });
      }
      expect(await digestOf(orders.bodies.read(ref))).toMatchObject({ size: 10 });
    });

    test('a full backend refuses requests, keeps nothing of them, and goes on with what it has', async () => {
      await stage.set({ maxBytes: 4 * 1024 * 1024 });
      const { orders, log } = await set();
      const kept = await write(orders, log.newCallId('payments'), 1_000_000);
      const writing = write(orders, log.newCallId('payments'), 40_000_000);
      await expect(writing).rejects.toThrow(BrokerUnavailable);
      await expectSoon(() => stage.backend.bodyChunks()).toBe(kept.chunks);
      expect(await digestOf(orders.bodies.read(kept))).toMatchObject({ size: 1_000_000 });
    });

    test('a writer that is killed leaves nothing that a reader could take for whole', async () => {
      const { orders, log } = await set();
      const id = log.newCallId('payments');
      const child = await stage.send({ kind: 'write-body', id, size: 200_000_000 });
      await child.tells('wrote', 20);
      await child.process.kill9();
      const left = await stage.backend.bodyChunks();
      expect(left).toBeGreaterThan(0);
      expect(await log.find(id)).toBeUndefined();
      // The same call can be made anew.
      const bodyRef = await write(orders, id);
      await storeAll(log, [anAction({ id, body: Buffer.alloc(0), bodyRef })]);
      expect(await digestOf(orders.bodies.read(bodyRef))).toMatchObject({ size: large });
    });

    test('what a writer acknowledged before it was killed is whole', async () => {
      const { orders, log } = await set();
      const child = await stage.send({ kind: 'write-body', id: log.newCallId('payments'), size: 5_000_000 });
      const [ref] = await child.tells('whole');
      await child.process.kill9();
      expect(await digestOf(orders.bodies.read(JSON.parse(ref!) as BodyRef))).toEqual(await digestOf(aBody(5_000_000)));
    });

    const testOfKill = testWhere(candidate.supports.ownProcess);

    testOfKill('a broker that is killed while one is written: the writer waits for it, and it is whole', async () => {
      const { orders, log } = await set();
      let killed = 0;
      async function* interrupted(): AsyncGenerator<Buffer, void, undefined> {
        for await (const bytes of aBody(large)) {
          if (++killed === 20) {
            await stage.backend.kill!();
            setTimeout(() => void stage.backend.restart!(), 300);
          }
          yield bytes;
        }
      }
      const ref = await orders.bodies.write(placeOf(log.newCallId('payments')), interrupted(), never);
      expect(await digestOf(orders.bodies.read(ref))).toEqual(await digestOf(aBody(large)));
    });

    testOfKill('a broker that is killed while one is read: the reader waits for it, and reads on', async () => {
      const { orders, log } = await set();
      const ref = await write(orders, log.newCallId('payments'));
      let read = 0;
      async function* interrupted(): AsyncGenerator<Uint8Array, void, undefined> {
        for await (const bytes of orders.bodies.read(ref)) {
          if (++read === 2) {
            await stage.backend.kill!();
            setTimeout(() => void stage.backend.restart!(), 300);
          }
          yield bytes;
        }
      }
      expect(await digestOf(interrupted())).toEqual(await digestOf(aBody(large)));
    });
  });
}
