import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { conclude } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { ManagedProcess } from '../../support/managed-process.ts';
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

const script = fileURLToPath(new URL('holder.ts', import.meta.url));

let server: NatsServer;
let onlooker: Onlooker;
let caller: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  caller = await openBroker(server.url);
});

afterEach(async () => {
  await caller[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function holder(what: 'hold' | 'start'): Promise<ManagedProcess> {
  return await ManagedProcess.start({
    label: `holder (${what})`,
    command: process.execPath,
    args: [script, server.url, 'payments-1', what],
  });
}

async function store(idempotent: boolean): Promise<string> {
  const log = caller.broker.caller('orders');
  const id = log.newCallId('payments');
  expect(await log.store(sampleAction(id, { idempotent }))).toEqual({ kind: 'accepted' });
  return id;
}

describe('the holder of a lease is killed', () => {
  test('and another instance has the call, which was not started, soon after', async () => {
    const id = await store(false);
    await using first = await holder('hold');
    await first.printed(new RegExp(`holds ${id}`));
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const hands = new Hands(second.broker);
    await first.kill9();
    // Five seconds of silence, and what it takes to deliver again: ten are promised, the rest is for slow machines.
    const lease = await hands.next('the call to be delivered again', 20_000);
    expect(lease.action.id).toBe(id);
    expect(lease.progress).toEqual({ attempts: [] });
    expect(lease.unaccounted).toBe(0);
    expect(await lease.start(1)).toBe('started');
    await lease.finish(answered(lease));
  });

  test('while an attempt of an idempotent call is running: one attempt is unaccounted for', async () => {
    const id = await store(true);
    await using first = await holder('start');
    await first.printed(new RegExp(`started ${id}`));
    await first.kill9();
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const lease = await new Hands(second.broker).next('the call to be delivered again', 20_000);
    expect(lease.unaccounted).toBe(1);
    await lease.finish(answered(lease));
  });

  test('while an attempt of another call is running: the start is on record', async () => {
    const id = await store(false);
    await using first = await holder('start');
    await first.printed(new RegExp(`started ${id}`));
    await first.kill9();
    await using second = await openBroker(server.url, { service: 'payments', instance: 'payments-2' });
    const lease = await new Hands(second.broker).next('the call to be delivered again', 20_000);
    expect(lease.progress.started).toMatchObject({ attempt: 1, instance: 'payments-1' });
    expect(lease.unaccounted).toBe(0);
    await lease.finish(conclude(lease.action, lease.progress, 'outcome-unknown', Date.now()));
  });
});

test('the record of a call outlives it', async () => {
  await store(false);
  await using callee = await openBroker(server.url, { service: 'payments', instance: 'payments-1' });
  const lease = await new Hands(callee.broker).next();
  await lease.start(1);
  expect(await onlooker.messages('holdline_attempts_payments')).toBe(1);
  await lease.finish(answered(lease));
  await eventually(async () => expect(await onlooker.messages('holdline_actions_payments')).toBe(0), {
    what: 'the action to be settled',
  });
  // Should the server lose the acknowledgement now, the record is what keeps the call from running twice.
  expect(await onlooker.messages('holdline_attempts_payments')).toBe(1);
});
