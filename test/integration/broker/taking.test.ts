import { AsyncLocalStorage, createHook } from 'node:async_hooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { noProgress } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import {
  answered,
  Hands,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

const STREAM = 'holdline_actions_payments';

let server: NatsServer;
let onlooker: Onlooker;
let caller: OpenBroker;
let callee: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  caller = await openBroker(server.url);
  callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await callee[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function store(count: number, different: Parameters<typeof sampleAction>[1] = {}): Promise<string[]> {
  const log = caller.broker.caller('orders');
  const ids = Array.from({ length: count }, () => log.newCallId('payments'));
  for (const id of ids) expect(await log.store(sampleAction(id, different))).toEqual({ kind: 'accepted' });
  return ids;
}

/** Messages that the server has handed out and that nobody has settled or given back. */
async function leased(): Promise<number> {
  const info = await onlooker.manager.consumers.info(STREAM, 'inbound');
  return info.num_ack_pending;
}

async function consumerExists(): Promise<void> {
  await eventually(() => leased(), { what: 'the consumer' });
}

describe('no more is taken than there are free slots', () => {
  test('the server never leases more, however many calls wait', async () => {
    await store(20);
    const hands = new Hands(callee.broker, { slots: 3 });
    const first = await hands.next();
    await hands.next();
    await hands.next();
    expect(await leased()).toBe(3);
    // Two more rounds of asking, after which a fourth would have come.
    await first.finish(answered(first));
    hands.freeSlot();
    await hands.next();
    expect(await leased()).toBe(3);
    expect(hands.leases).toHaveLength(4);
    expect((await onlooker.manager.consumers.info(STREAM, 'inbound')).num_pending).toBe(16);
  });

  test('pausing and resuming does not ask twice for the same slots', async () => {
    const hands = new Hands(callee.broker, { slots: 2 });
    await consumerExists();
    for (let i = 0; i < 5; i++) {
      hands.taking.pause();
      hands.taking.resume();
    }
    await eventually(
      async () => expect((await onlooker.manager.consumers.info(STREAM, 'inbound')).num_waiting).toBeGreaterThan(0),
      { what: 'a request for calls' },
    );
    await store(10);
    await hands.next();
    await hands.next();
    const info = await onlooker.manager.consumers.info(STREAM, 'inbound');
    expect({ leased: info.num_ack_pending, waiting: info.num_pending }).toEqual({ leased: 2, waiting: 8 });
    expect(hands.leases).toHaveLength(2);
  });

  test('two instances share the work', async () => {
    await using other = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const [one, two] = [new Hands(callee.broker, { slots: 2 }), new Hands(other.broker, { slots: 2 })];
    await consumerExists();
    await store(10);
    await Promise.all([one.next(), one.next(), two.next(), two.next()]);
    expect(await leased()).toBe(4);
    const ids = [...one.leases, ...two.leases].map((lease) => lease.action.id);
    expect(new Set(ids).size).toBe(4);
  });
});

describe('a lease', () => {
  test('is kept for as long as it is held, also past the time after which the server would give it to another', async () => {
    const hands = new Hands(callee.broker);
    await using other = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    await store(1);
    const lease = await hands.next();
    const rival = new Hands(other.broker);
    const { config } = await onlooker.manager.consumers.info(STREAM, 'inbound');
    const start = performance.now();
    const waitMs = (config.ack_wait ?? 0) / 1_000_000;
    expect(waitMs).toBeGreaterThan(0);
    await eventually(() => expect(performance.now() - start).toBeGreaterThan(1.6 * waitMs), {
      what: 'the acknowledgement wait to pass',
      timeoutMs: 60_000,
    });
    expect(rival.leases).toEqual([]);
    expect(lease.lost.aborted).toBe(false);
    await lease.finish(answered(lease));
    await eventually(async () => expect(await onlooker.messages(STREAM)).toBe(0), { what: 'the action to be settled' });
  });

  test('that was given back before anything was sent comes again, and no attempt is counted', async () => {
    const hands = new Hands(callee.broker, { slots: 1 });
    await store(1, { idempotent: true });
    const first = await hands.next();
    await first.release();
    hands.freeSlot();
    const second = await hands.next();
    expect({ unaccounted: second.unaccounted, progress: second.progress }).toEqual({
      unaccounted: 0,
      progress: { attempts: [] },
    });
  });

  test('that is postponed comes after its time, with what was remembered, and no attempt is counted', async () => {
    const hands = new Hands(callee.broker);
    await store(1, { idempotent: true });
    const first = await hands.next();
    expect(await first.start(1)).toBe('started');
    const until = Date.now() + 1_000;
    const attempt = {
      attempt: 1,
      at: 1,
      ms: 2,
      evidence: 'retry-status',
      status: 503,
      instance: 'payments-1',
    } as const;
    await first.postpone({ ...noProgress, attempts: [attempt] }, until);
    hands.freeSlot();
    const second = await hands.next();
    expect(Date.now()).toBeGreaterThanOrEqual(until - 50);
    expect(second.progress).toMatchObject({ attempts: [attempt], notBefore: until });
    expect(second.unaccounted).toBe(0);
  });

  test('that is postponed over a restart of the broker costs no attempt either, though the server forgets the pause', async () => {
    const hands = new Hands(callee.broker);
    await store(1, { idempotent: true });
    const first = await hands.next();
    await first.start(1);
    const until = Date.now() + 8_000;
    await first.postpone(noProgress, until);
    hands.freeSlot();
    await server.kill9();
    await server.restart();
    const second = await hands.next('the call to come again', 40_000);
    expect(Date.now()).toBeGreaterThanOrEqual(until - 50);
    expect(second.unaccounted).toBe(0);
  });

  test('whose delivery is repeated to its holder stays one lease and costs no attempt', async () => {
    const hands = new Hands(callee.broker, { slots: 2 });
    await store(1, { idempotent: true });
    const first = await hands.next();
    // What a late refusal by an instance that lost the lease looks like.
    const { delivered } = await onlooker.manager.consumers.info(STREAM, 'inbound');
    const subject = `$JS.ACK.${STREAM}.inbound.1.${delivered.stream_seq}.${delivered.consumer_seq}.${Date.now()}000000.0`;
    onlooker.nc.publish(subject, '-NAK');
    await eventually(
      async () => {
        const info = await onlooker.manager.consumers.info(STREAM, 'inbound');
        expect(info.delivered.consumer_seq).toBeGreaterThan(delivered.consumer_seq);
      },
      { what: 'the delivery to be repeated' },
    );
    await eventually(() => expect(hands.taking).toBeDefined(), { what: 'it' });
    expect(hands.leases).toHaveLength(1);
    await first.release();
    hands.freeSlot();
    expect((await hands.next()).unaccounted).toBe(0);
  });
});

test('anyone may send anything to the control subject: the sidecar goes on', async () => {
  const hands = new Hands(callee.broker);
  await consumerExists();
  onlooker.nc.publish('holdline.ctl.payments', 'junk');
  onlooker.nc.publish('holdline.ctl.payments', '{"op":"withdraw"}');
  await onlooker.nc.flush();
  await eventually(() => expect(callee.problems.map(String).join()).toContain('holdline.ctl.payments'), {
    what: 'the junk to be reported',
  });
  const [id] = await store(1);
  expect((await hands.next()).action.id).toBe(id);
});

test('an action that cannot be read is reported and does not hold up the others', async () => {
  const hands = new Hands(callee.broker);
  await consumerExists();
  const stranger = '01890a5d-ac96-774b-8cce-b302099a8057';
  onlooker.nc.publish(`holdline.act.payments.orders.${stranger}`, 'not an event');
  await onlooker.nc.flush();
  const [id] = await store(1);
  expect((await hands.next()).action.id).toBe(id);
  expect(hands.problems.map(String).join()).toContain('cannot be read');
});

describe('closing leaves nothing behind', () => {
  test('whatever is called afterwards', async () => {
    // Only what this one broker sets: others, and the test runner, come and go with timers of their own.
    const scope = new AsyncLocalStorage<'the broker'>();
    const timers = new Set<number>();
    const hook = createHook({
      init: (id, type) => void (type === 'Timeout' && scope.getStore() !== undefined && timers.add(id)),
      destroy: (id) => void timers.delete(id),
    }).enable();
    await scope.run('the broker', async () => {
      const extra = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
      const hands = new Hands(extra.broker);
      await store(1);
      const lease = await hands.next();
      expect(timers.size).toBeGreaterThan(3);
      hands.taking.pause();
      await extra.broker.close(1_000);
      hands.taking.pause();
      hands.taking.resume();
      hands.taking.more();
      await expect(lease.finish(answered(lease))).rejects.toThrow('stopping');
      const awaited = extra.broker.caller('orders').await(lease.action.id);
      awaited.release();
      extra.broker.caller('orders').await(lease.action.id);
      expect(new Hands(extra.broker).leases).toEqual([]);
    });
    await eventually(() => expect(timers.size).toBe(0), { what: 'all timers to end' });
    hook.disable();
  });

  test('also where the broker does not answer any more', async () => {
    const extra = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    await server.suspend();
    const closed = extra.broker.close(100);
    // Its pings fail after ten seconds and more; closing must not wait for that.
    await eventually(() => closed, { what: 'the broker to close', timeoutMs: 8_000 });
    server.resume();
    expect(extra.broker.status.connected).toBe(false);
  });

  test('stopping asks for nothing more, and what is at hand can still be finished', async () => {
    const hands = new Hands(callee.broker, { slots: 2 });
    await store(1);
    const lease = await hands.next();
    await hands.taking.stop();
    hands.taking.resume();
    hands.taking.more();
    await store(2);
    await lease.finish(answered(lease));
    await eventually(async () => expect(await onlooker.messages(STREAM)).toBe(2), { what: 'the call to be settled' });
    expect(hands.leases).toHaveLength(1);
  });
});
