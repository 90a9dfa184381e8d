import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Lease } from '../../../sidecar/broker/port.ts';
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
let brokers: { caller: OpenBroker; first: OpenBroker; second: OpenBroker };

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  brokers = {
    caller: await openBroker(server.url),
    first: await openBroker(server.url, { service: 'payments', instance: 'payments-1' }),
    second: await openBroker(server.url, { service: 'payments', instance: 'payments-2' }),
  };
});

afterEach(async () => {
  for (const broker of Object.values(brokers)) await broker[Symbol.asyncDispose]();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

/** An attempt of an idempotent call runs at the first instance, and the server has given its call to the second one, too. */
async function given(): Promise<{ readonly running: Lease; readonly other: Hands }> {
  const log = brokers.caller.broker.caller('orders');
  await log.store(sampleAction(log.newCallId('payments'), { idempotent: true }));
  const running = await new Hands(brokers.first.broker).next();
  await running.start(1);
  let asked = 0;
  onlooker.nc.subscribe('holdline.ctl.payments', { callback: () => void asked++ });
  const other = new Hands(brokers.second.broker);
  // As when the lease runs out: the server gives the message to whoever asks next.
  const { delivered } = await onlooker.manager.consumers.info(STREAM, 'inbound');
  const subject = `$JS.ACK.${STREAM}.inbound.1.${delivered.stream_seq}.${delivered.consumer_seq}.${Date.now()}000000.0`;
  onlooker.nc.publish(subject, '-NAK');
  await eventually(() => expect(asked).toBeGreaterThan(1), { what: 'the second one to ask twice who works on it' });
  expect(other.leases).toEqual([]);
  return { running, other };
}

describe('a call whose lease ran out while its attempt is still running, where its holder can be asked', () => {
  test('is not sent a second time, and ends with the answer of that attempt', async () => {
    const { running, other } = await given();
    await running.finish(answered(running));
    await eventually(async () => expect(await onlooker.messages(STREAM)).toBe(0), { what: 'the call to be settled' });
    expect(await other.taking.backlog()).toEqual({ waiting: 0 });
    expect(other.leases).toEqual([]);
  });

  test('goes on with what that attempt has shown', async () => {
    const { running, other } = await given();
    await running.postpone({ attempts: [{ attempt: 1, evidence: 'retry-status', status: 503, instance: 'a' }] }, 0);
    const lease = await other.next();
    expect(lease.progress.attempts).toMatchObject([{ attempt: 1, evidence: 'retry-status', status: 503 }]);
    expect(lease.unaccounted).toBe(0);
  });

  test('goes on when its holder is gone, which counts as an attempt', async () => {
    const { other } = await given();
    await brokers.first[Symbol.asyncDispose]();
    expect((await other.next('the call', 30_000)).unaccounted).toBe(1);
  });
});
