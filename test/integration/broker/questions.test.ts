import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { keyedCallId } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts';
import {
  answered,
  Hands,
  type Onlooker,
  openBroker,
  type OpenBroker,
  openOnlooker,
  sampleAction,
} from './jetstream.ts';

/*
 * What one call asks of the broker beside its writes. Each question costs the server about as much as a write does, so one that is
 * asked for every call without need shows in what a call costs.
 */

let server: NatsServer;
let relay: TcpRelay;
let onlooker: Onlooker;
let open: OpenBroker;

beforeEach(async () => {
  server = await startNatsServer();
  relay = await startTcpRelay(server.port);
  onlooker = await openOnlooker(server.url);
  open = await openBroker(`nats://127.0.0.1:${relay.port}`);
});

afterEach(async () => {
  await open[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await relay[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** Subjects of the requests to the server from here on. */
function listen(subject: string): string[] {
  const seen: string[] = [];
  onlooker.nc.subscribe(subject, { callback: (_error, msg) => void seen.push(msg.subject) });
  return seen;
}

const keyed = { caller: 'orders', service: 'payments', method: 'POST', path: '/charges' };

function keyedAction(key: string) {
  return sampleAction(keyedCallId({ ...keyed, key }), { keyed: true, idempotencyKey: key });
}

describe('a call with a key', () => {
  const letters = '$JS.API.DIRECT.GET.holdline_dead.>';

  test('asks for no letter while none can have outlived its answer', async () => {
    const log = open.broker.caller('orders');
    expect(await log.store(keyedAction('first'))).toEqual({ kind: 'accepted' });
    const asked = listen(letters);
    const all = listen('$JS.API.DIRECT.GET.>');
    await onlooker.nc.flush();
    expect(await log.find(keyedAction('second').id, 'payments')).toBeUndefined();
    expect(await log.store(keyedAction('second'))).toEqual({ kind: 'accepted' });
    // What it did ask has been seen, so that what it did not ask is missing and not late.
    await eventually(() => expect(all.length).toBeGreaterThan(0), { what: 'the look at actions and answers' });
    expect(asked).toEqual([]);
  });

  test('asks for its letter where answers are kept for moments only', async () => {
    await using forgetful = await openBroker(server.url, { retention: { keyed: 2_000 }, instance: 'orders-2' });
    const log = forgetful.broker.caller('orders');
    await log.store(keyedAction('first'));
    const asked = listen(letters);
    await onlooker.nc.flush();
    await log.store(keyedAction('second'));
    await eventually(() => expect(asked).toHaveLength(1), { what: 'the question' });
  });
});

test('a call that is made at most once removes no letter when it ends, as nobody can have left one', async () => {
  const log = open.broker.caller('orders');
  const hands = new Hands(open.broker);
  const purged = listen('$JS.API.STREAM.PURGE.>');
  await onlooker.nc.flush();
  const action = sampleAction(log.newCallId('payments'), { idempotent: false });
  const awaited = log.await(action.id);
  await log.store(action);
  const lease = await hands.next();
  expect(await lease.start(1)).toBe('started');
  await lease.finish(answered(lease));
  expect((await awaited.response).call.id).toBe(action.id);
  await onlooker.nc.flush();
  expect(purged).toEqual([]);
});

describe('a question', () => {
  test('ends with the connection over which it was asked, not when its time is over', async () => {
    const log = open.broker.caller('orders');
    const { id } = sampleAction(log.newCallId('payments'));
    await log.store(sampleAction(id));
    relay.stall('to-client');
    const found = log.find(id, 'payments');
    const failed = expect(found).rejects.toThrow(/connection to the broker was lost/);
    await relay.cut();
    await failed;
    await relay.heal();
    await eventually(async () => expect(await log.find(id, 'payments')).toMatchObject({ kind: 'open' }), {
      what: 'the call',
    });
  });

  test('that nobody answers is given up', async () => {
    const log = open.broker.caller('orders');
    const { id } = sampleAction(log.newCallId('payments'));
    await log.store(sampleAction(id));
    relay.stall('to-client');
    await expect(log.find(id, 'payments')).rejects.toThrow(BrokerUnavailable);
    await relay.heal();
  });

  test('about a stream that is not there is answered, and so is the next one, when it is', async () => {
    const log = open.broker.caller('orders');
    const { id } = keyedAction('early');
    expect(await log.find(id, 'payments')).toBeUndefined();
    await log.store(keyedAction('early'));
    expect(await log.find(id, 'payments')).toMatchObject({ kind: 'open' });
  });
});
