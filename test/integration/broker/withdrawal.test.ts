import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ask } from '../../../sidecar/broker/jetstream/control.ts';
import { Connection } from '../../../sidecar/broker/jetstream/connection.ts';
import { Subjects } from '../../../sidecar/broker/jetstream/subjects.ts';
import type { Lease } from '../../../sidecar/broker/port.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts';
import {
  answered,
  Hands,
  natsConfig,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

const ACTIONS = 'holdline_actions_payments';

let server: NatsServer;
let relay: TcpRelay;
let onlooker: Onlooker;
let caller: OpenBroker;
/** Its connection goes through the relay. */
let callee: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  relay = await startTcpRelay(server.port);
  onlooker = await openOnlooker(server.url);
  caller = await openBroker(server.url);
  callee = await openBroker(`nats://127.0.0.1:${relay.port}`, { service: 'payments', instance: 'payments-1' });
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await callee[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await relay[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function store(different: Parameters<typeof sampleAction>[1] = {}): Promise<string> {
  const log = caller.broker.caller('orders');
  const id = log.newCallId('payments');
  expect(await log.store(sampleAction(id, different))).toEqual({ kind: 'accepted' });
  return id;
}

async function cutOff(): Promise<void> {
  await relay.cut();
  await eventually(() => expect(callee.broker.status.connected).toBe(false), { what: 'the loss to be seen' });
}

async function back(): Promise<void> {
  await relay.heal();
  await eventually(() => expect(callee.broker.status.connected).toBe(true), { what: 'the connection to be back' });
}

describe('a call that is cancelled', () => {
  test('while it is held is not started', async () => {
    const id = await store();
    const lease = await new Hands(callee.broker).next();
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('withdrawn');
    expect(await lease.start(1)).toBe('gone');
    expect(await onlooker.messages(ACTIONS)).toBe(0);
  });

  test('while its holder is cut off is not started afterwards, where starts are recorded', async () => {
    const id = await store();
    const lease = await new Hands(callee.broker).next();
    await cutOff();
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('withdrawn');
    await back();
    expect(await lease.start(1)).toBe('gone');
  });

  test('while its holder is cut off goes on, where starts are not recorded: it may have been sent', async () => {
    const id = await store({ idempotent: true });
    const lease = await new Hands(callee.broker).next();
    await cutOff();
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('started');
    await back();
    expect(await lease.start(1)).toBe('started');
    await lease.finish(answered(lease));
  });

  test('while its start is being recorded over a lost connection is not started', async () => {
    const id = await store();
    const lease = await new Hands(callee.broker).next();
    await cutOff();
    const started = lease.start(1);
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('withdrawn');
    await back();
    expect(await started).toBe('gone');
  });

  test('while its holder cannot be asked, and does not know it, is not started', async () => {
    const id = await store();
    const lease = await new Hands(callee.broker).next();
    relay.stall('to-client');
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('withdrawn');
    const started = lease.start(1);
    await relay.heal();
    expect(await started).toBe('gone');
    expect(await onlooker.messages(ACTIONS)).toBe(0);
  });

  test('after it was started goes on, also while its holder is cut off', async () => {
    const id = await store();
    const lease = await new Hands(callee.broker).next();
    expect(await lease.start(1)).toBe('started');
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('started');
    await cutOff();
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('started');
    await back();
    await lease.finish(answered(lease));
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('finished');
  });

  test('and taken by nobody yet is not delivered any more', async () => {
    const id = await store();
    expect(await caller.broker.caller('orders').withdraw(id, 'cancelled')).toBe('withdrawn');
    const hands = new Hands(callee.broker);
    const other = await store();
    expect((await hands.next()).action.id).toBe(other);
    expect(hands.leases).toHaveLength(1);
  });

  test('when its action is gone already is told so', async () => {
    const id = await store();
    const lease: Lease = await new Hands(callee.broker).next();
    await lease.start(1);
    const [result] = await Promise.all([
      caller.broker.caller('orders').withdraw(id, 'deadline-exceeded'),
      lease.finish(answered(lease)),
    ]);
    expect(['started', 'finished']).toContain(result);
  });
});

describe('a call whose deadline passes', () => {
  const soon = () => ({ deadline: Date.now() + 1_000 });

  test('while its service is paused is concluded, with a dead letter', async () => {
    const hands = new Hands(callee.broker);
    hands.taking.pause();
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    const { response } = log.await(id);
    await log.store(sampleAction(id, soon()));
    const later = await store();
    expect((await response).outcome).toBe('deadline-exceeded');
    expect(await caller.broker.operator.deadLetter(id)).toMatchObject({ reason: 'deadline-exceeded' });
    expect(await log.find(later)).toMatchObject({ kind: 'open' });
    expect(hands.leases).toEqual([]);
  });

  test('while all slots are busy is concluded, too', async () => {
    const hands = new Hands(callee.broker);
    await store();
    await hands.next();
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    const { response } = log.await(id);
    await log.store(sampleAction(id, soon()));
    expect((await response).outcome).toBe('deadline-exceeded');
  });

  test('while the broker is away is concluded when it is back', async () => {
    const hands = new Hands(callee.broker);
    hands.taking.pause();
    const different = soon();
    const id = await store(different);
    await cutOff();
    await eventually(() => expect(Date.now()).toBeGreaterThan(different.deadline), { what: 'the deadline to pass' });
    await back();
    await eventually(
      async () => expect(await caller.broker.caller('orders').find(id)).toMatchObject({ kind: 'finished' }),
      { what: 'the call to be concluded' },
    );
  });

  test('while an attempt is running is left to that attempt', async () => {
    const hands = new Hands(callee.broker, { slots: 2 });
    const id = await store(soon());
    const lease = await hands.next();
    await lease.start(1);
    hands.taking.pause();
    const other = await store(soon());
    await eventually(
      async () => expect(await caller.broker.caller('orders').find(other)).toMatchObject({ kind: 'finished' }),
      { what: 'the other to be concluded' },
    );
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({ kind: 'open', activity: 'attempting' });
    await lease.finish(answered(lease));
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({ response: { outcome: 'answered' } });
  });
});

describe('asking the sidecars of a callee', () => {
  const subjects = new Subjects('holdline');
  let connection: Connection;

  beforeEach(async () => {
    connection = new Connection(natsConfig(server.url), 'asker', (error) => expect.unreachable(error.message));
    connection.start();
    await eventually(() => expect(connection.connected).toBe(true), { what: 'the connection' });
  });

  afterEach(() => connection.close());

  test('tells who holds what, and who is sending', async () => {
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const hands = new Hands(callee.broker, { slots: 2 });
    const ids = [await store(), await store()];
    const [one, two] = [await hands.next(), await hands.next()];
    const rival = new Hands(second.broker);
    const third = await store();
    await rival.next();
    await one.start(1);
    const replies = await ask(connection, subjects, 'payments', { op: 'locate', ids: [...ids, third] });
    expect(replies.toSorted((a, b) => (a.instance < b.instance ? -1 : 1))).toEqual([
      { instance: 'payments-1', held: [two.action.id], sending: [one.action.id] },
      { instance: 'payments-2', held: [third], sending: [] },
    ]);
  });

  test('only asking changes nothing, asking to let go does', async () => {
    const id = await store();
    const lease = await new Hands(callee.broker).next();
    await ask(connection, subjects, 'payments', { op: 'locate', ids: [id] });
    expect(await ask(connection, subjects, 'payments', { op: 'withdraw', ids: [id] })).toMatchObject([{ held: [id] }]);
    expect(await lease.start(1)).toBe('gone');
  });

  test('where there is nobody, it knows at once', async () => {
    expect(await ask(connection, subjects, 'nobody', { op: 'locate', ids: ['x'] })).toEqual([]);
  });

  test('without a connection nobody answers', async () => {
    await connection.close();
    expect(await ask(connection, subjects, 'payments', { op: 'locate', ids: ['x'] })).toEqual([]);
  });
});
