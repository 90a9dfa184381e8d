import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Subjects } from '../../../sidecar/broker/jetstream/subjects.ts';
import type { Lease } from '../../../sidecar/broker/port.ts';
import { conclude, noProgress, type ActionEvent, type DeadLetterReason } from '../../../sidecar/model/call.ts';
import { keyedCallId } from '../../../sidecar/model/call-id.ts';
import { encodeDeadLetter, encodeResponse } from '../../../sidecar/model/codec.ts';
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

const ACTIONS = 'holdline_actions_payments';

let server: NatsServer;
let onlooker: Onlooker;
let caller: OpenBroker;
let callee: OpenBroker;
/** As the command line opens it: a broker of no service in particular. */
let tool: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  caller = await openBroker(server.url);
  callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
  tool = await openBroker(server.url, { service: 'operator', instance: 'tool' });
});

afterEach(async () => {
  for (const open of [caller, callee, tool]) await open[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

let clock = Date.now();

async function store(different: Partial<ActionEvent> = {}): Promise<string> {
  const log = caller.broker.caller('orders');
  const id = different.id ?? log.newCallId(different.service ?? 'payments');
  const action = sampleAction(id, { acceptedAt: clock++, ...different });
  expect(await log.store(action)).toEqual({ kind: 'accepted' });
  return id;
}

/** Ends a call as a dead letter. */
async function die(lease: Lease, reason: DeadLetterReason): Promise<void> {
  await lease.start(1);
  const attempt = { attempt: 1, at: 1, evidence: 'no-answer', instance: 'payments-1' } as const;
  await lease.finish(conclude(lease.action, { ...noProgress, attempts: [attempt] }, reason, clock++));
}

async function settled(): Promise<void> {
  await eventually(async () => expect(await onlooker.messages(ACTIONS)).toBe(0), { what: 'the calls to be settled' });
}

describe('lists', () => {
  test('show calls of every state, newest first, and as many as asked for', async () => {
    const hands = new Hands(callee.broker, { slots: 4 });
    const ids: Record<string, string> = {};
    ids['answered'] = await store();
    const first = await hands.next();
    await first.finish(answered(first));
    ids['dead'] = await store();
    await die(await hands.next(), 'exhausted');
    hands.freeSlot();
    hands.freeSlot();
    ids['attempting'] = await store();
    await (await hands.next()).start(1);
    hands.slots = 0;
    ids['waiting'] = await store({ service: 'stock' });
    ids['cancelled'] = await store({ service: 'stock' });
    await caller.broker.caller('orders').withdraw(ids['cancelled'], 'cancelled');
    const { operator } = tool.broker;
    const calls = await operator.calls({ limit: 50 });
    expect(calls.map(({ call, state }) => ({ id: call.id, state }))).toEqual(
      ['cancelled', 'waiting', 'attempting', 'dead', 'answered'].map((state) => ({ id: ids[state], state })),
    );
    expect(await operator.calls({ limit: 2 })).toHaveLength(2);
    for (const state of ['cancelled', 'waiting', 'attempting', 'dead', 'answered'] as const) {
      expect((await operator.calls({ limit: 50, state })).map(({ call }) => call.id)).toEqual([ids[state]]);
    }
    expect(await operator.calls({ limit: 50, service: 'stock' })).toHaveLength(2);
    expect(await operator.calls({ limit: 50, caller: 'nobody' })).toEqual([]);
  });

  test('show what can be read where one event cannot', async () => {
    const id = await store();
    onlooker.nc.publish('holdline.act.payments.orders.01890a5d-ac96-774b-8cce-b302099a8057', 'junk');
    await onlooker.nc.flush();
    expect((await tool.broker.operator.calls({ limit: 50 })).map(({ call }) => call.id)).toEqual([id]);
    expect(tool.problems.join()).toContain('cannot be read');
  });

  test('of dead letters filter by service, route and reason', async () => {
    const hands = new Hands(callee.broker, { slots: 5 });
    const ids: string[] = [];
    for (const [route, reason] of [
      ['charge', 'exhausted'],
      ['refund', 'exhausted'],
      ['charge', 'outcome-unknown'],
    ] as const) {
      ids.push(await store({ route }));
      await die(await hands.next(), reason);
    }
    const { operator } = tool.broker;
    const list = async (query: object) =>
      (await operator.deadLetters({ limit: 50, ...query })).map(({ call }) => ids.indexOf(call.id));
    expect(await list({})).toEqual([2, 1, 0]);
    expect(await list({ limit: 1 })).toEqual([2]);
    expect(await list({ route: 'charge' })).toEqual([2, 0]);
    expect(await list({ reason: 'exhausted' })).toEqual([1, 0]);
    expect(await list({ reason: 'exhausted', route: 'charge' })).toEqual([0]);
    expect(await list({ service: 'pay' })).toEqual([]);
  });
});

describe('one call', () => {
  test('is shown with what it waits for, then with its history', async () => {
    const { operator } = tool.broker;
    const id = await store();
    expect(await operator.call(id)).toMatchObject({
      state: 'waiting',
      waitingFor: expect.stringContaining('payments'),
    });
    const lease = await new Hands(callee.broker).next();
    await die(lease, 'outcome-unknown');
    await settled();
    expect(await operator.call(id)).toMatchObject({
      state: 'dead',
      outcome: 'outcome-unknown',
      attempts: 1,
      history: [{ attempt: 1, evidence: 'no-answer' }],
    });
    expect(await operator.call('01890a5d-ac96-774b-8cce-b302099a8057')).toBeUndefined();
    expect(await operator.call('*')).toBeUndefined();
  });

  test('can be cancelled until something was sent', async () => {
    const { operator } = tool.broker;
    const hands = new Hands(callee.broker);
    const started = await store();
    const lease = await hands.next();
    await lease.start(1);
    const waiting = await store();
    expect(await operator.cancel(waiting)).toBe('withdrawn');
    expect(await operator.cancel(waiting)).toBe('finished');
    expect(await operator.cancel(started)).toBe('started');
    expect(await operator.cancel('01890a5d-ac96-774b-8cce-b302099a8057')).toBe('unknown');
  });
});

describe('replaying a dead letter', () => {
  test('starts the next round of the same call and takes it off the list', async () => {
    const hands = new Hands(callee.broker, { slots: 3 });
    const id = await store();
    await die(await hands.next(), 'exhausted');
    await settled();
    const { operator } = tool.broker;
    expect(await operator.replay(id)).toBe('replayed');
    expect(await operator.deadLetters({ limit: 50 })).toEqual([]);
    const lease = await hands.next();
    expect(lease.action).toMatchObject({ id, round: 2, earlier: [{ attempt: 1 }] });
    const { response } = caller.broker.caller('orders').await(id);
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({ kind: 'open' });
    await lease.finish(answered(lease));
    await response;
    expect(await caller.broker.caller('orders').find(id)).toMatchObject({ response: { outcome: 'answered' } });
    expect(await operator.replay(id)).toBe('unknown');
    expect(await operator.replay('*')).toBe('unknown');
  });

  test('does so also where its action is not settled yet: nothing is lost', async () => {
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    const action = sampleAction(id);
    await log.store(action);
    const response = conclude(action, noProgress, 'exhausted', Date.now());
    // As if the callee's sidecar had died before its last write: letter and response are there, and so is the action.
    await storeLetter(action);
    await eventually(
      () =>
        onlooker.nc.request(new Subjects('holdline').response('orders', id), encodeResponse(response), {
          timeout: 20_000,
        }),
      {
        what: 'the response to be stored',
      },
    );
    expect(await tool.broker.operator.replay(id)).toBe('replayed');
    const lease = await new Hands(callee.broker).next();
    expect(lease.action.round).toBe(2);
  });

  test('waits for a round that is just ending, and gives up without losing the letter', async () => {
    const log = caller.broker.caller('orders');
    const id = log.newCallId('payments');
    const action = sampleAction(id);
    await log.store(action);
    await storeLetter(action);
    await expect(tool.broker.operator.replay(id)).rejects.toThrow('has not ended yet');
    expect(await tool.broker.operator.deadLetter(id)).toMatchObject({ reason: 'exhausted' });
  });

  /** The dead letter alone, as the first of the writes that end a call. */
  async function storeLetter(action: ActionEvent): Promise<void> {
    const letter = encodeDeadLetter({ action, reason: 'exhausted', diedAt: Date.now(), history: [] });
    // The stream is made by the first letter of all.
    const other = await store({ service: 'stock', deadline: 0 });
    await caller.broker.caller('orders').withdraw(other, 'deadline-exceeded');
    await onlooker.nc.request(`holdline.dead.payments.orders.${action.id}`, letter, { timeout: 20_000 });
  }
});

describe('discarding a dead letter', () => {
  test('takes it off the list and frees its key', async () => {
    const hands = new Hands(callee.broker, { slots: 3 });
    const id = keyedCallId({ caller: 'orders', service: 'payments', method: 'POST', path: '/charges', key: 'k' });
    await store({ id, keyed: true });
    await die(await hands.next(), 'outcome-unknown');
    await settled();
    const { operator } = tool.broker;
    expect(await operator.discard(id)).toBe('discarded');
    expect(await operator.deadLetters({ limit: 50 })).toEqual([]);
    expect(await operator.call(id)).toBeUndefined();
    expect(await operator.discard(id)).toBe('unknown');
    // The mark in the place of the answer keeps the round counting.
    const again = await caller.broker.caller('orders').store(sampleAction(id, { keyed: true }));
    expect(again).toMatchObject({ kind: 'finished', response: { outcome: 'discarded', call: { round: 1 } } });
    expect(await caller.broker.caller('orders').store(sampleAction(id, { keyed: true, round: 2 }))).toEqual({
      kind: 'accepted',
    });
  });
});

test('without a connection nothing is claimed', async () => {
  await server.kill9();
  await eventually(() => expect(tool.broker.status.connected).toBe(false), { what: 'the loss to be seen' });
  const { operator } = tool.broker;
  const id = '01890a5d-ac96-774b-8cce-b302099a8057';
  for (const method of [
    () => operator.calls({ limit: 1 }),
    () => operator.call(id),
    () => operator.cancel(id),
    () => operator.deadLetters({ limit: 1 }),
    () => operator.replay(id),
    () => operator.discard(id),
  ]) {
    await expect(method()).rejects.toThrow(expect.objectContaining({ name: 'BrokerUnavailable' }));
  }
  await server.restart();
});
