import { headers } from '@nats-io/transport-node';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Connection } from '../../../sidecar/broker/jetstream/connection.ts';
import { MessageRefused, type Publication, Publisher } from '../../../sidecar/broker/jetstream/publisher.ts';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { eventually } from '../../support/eventually.ts';
import { createLatch } from '../../support/latch.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts';
import { natsConfig, type Onlooker, openOnlooker } from './jetstream.ts';

const STREAM = 'letters';
const payload = Buffer.from('x'.repeat(100));

let server: NatsServer;
let relay: TcpRelay;
let onlooker: Onlooker;
let connection: Connection;
let publisher: Publisher;
let problems: Error[];

beforeEach(async () => {
  server = await startNatsServer();
  relay = await startTcpRelay(server.port);
  onlooker = await openOnlooker(server.url);
  problems = [];
  connection = new Connection(natsConfig(`nats://127.0.0.1:${relay.port}`), 'test', (error) => problems.push(error));
  publisher = new Publisher(connection, (error) => problems.push(error));
  connection.start();
  await connected();
});

afterEach(async () => {
  await publisher.close(0);
  await connection.close();
  await onlooker[Symbol.asyncDispose]();
  await relay[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

async function connected(): Promise<void> {
  await eventually(() => expect(connection.connected).toBe(true), { what: 'the connection', timeoutMs: 30_000 });
}

async function addStream(limits: { max_bytes?: number } = {}): Promise<void> {
  await onlooker.manager.streams.add({ name: STREAM, subjects: [`${STREAM}.>`], discard: 'new', ...limits });
}

function publication(name: string, different: Partial<Publication> = {}): Publication {
  const head = headers();
  head.set('Nats-Msg-Id', name);
  head.set('Nats-Expected-Last-Subject-Sequence', '0');
  return {
    subject: `${STREAM}.${name}`,
    payload,
    headers: head,
    patience: 'now',
    ensureStream: () => Promise.reject(new BrokerUnavailable('not to be made here')),
    ...different,
  };
}

/** Whether a promise is still pending, asked when everything that can settle it has had its turn. */
function watch(promise: Promise<unknown>): { settled: boolean } {
  const state = { settled: false };
  promise.then(
    () => (state.settled = true),
    () => (state.settled = true),
  );
  return state;
}

async function stored(count: number): Promise<void> {
  await eventually(async () => expect(await onlooker.messages(STREAM)).toBe(count), { what: `${count} messages` });
}

test('an acknowledged message is stored, and is told from one that came second', async () => {
  await addStream();
  expect(await publisher.publish(publication('a'))).toEqual({
    kind: 'stored',
    seq: 1,
    duplicate: false,
    resent: false,
  });
  expect(await publisher.publish(publication('a'))).toMatchObject({ kind: 'stored', duplicate: true });
  const other = publication('a');
  other.headers?.set('Nats-Msg-Id', 'another');
  expect(await publisher.publish(other)).toEqual({ kind: 'conflict', resent: false });
  expect(publisher.pending).toBe(0);
});

describe('a message whose acknowledgement got lost', () => {
  test('is sent again after the broker was killed and is back, and is stored once', async () => {
    await addStream();
    relay.stall('to-client');
    let marked = 0;
    const first = publication('a');
    const resentHeaders = () => {
      marked++;
      return first.headers!;
    };
    const ack = publisher.publish({ ...first, resentHeaders });
    await stored(1);
    await server.kill9();
    await relay.cut();
    await server.restart();
    await relay.heal();
    expect(await ack).toEqual({ kind: 'stored', seq: 1, duplicate: true, resent: true });
    expect(marked).toBeGreaterThan(0);
    await stored(1);
  });

  test('is sent again where it never arrived', async () => {
    await addStream();
    relay.stall('to-server');
    const ack = publisher.publish(publication('a'));
    await relay.cut();
    await relay.heal();
    expect(await ack).toMatchObject({ kind: 'stored', duplicate: false, resent: true });
  });

  test('is not given up for a refusal that comes later: the earlier one may have been stored', async () => {
    await addStream({ max_bytes: 1_000 });
    relay.stall('to-server');
    const ack = publisher.publish(publication('a'));
    const state = watch(ack);
    await relay.cut();
    onlooker.nc.publish(`${STREAM}.b`, Buffer.alloc(850));
    await onlooker.nc.flush();
    await relay.heal();
    await eventually(() => expect(problems.map((error) => error.message).join()).toContain('maximum bytes'), {
      what: 'the refusal to be reported',
    });
    expect(state.settled).toBe(false);
    await onlooker.manager.streams.purge(STREAM);
    expect(await ack).toMatchObject({ kind: 'stored', resent: true });
  });
});

describe('what certainly was not stored', () => {
  test('is refused at once without a connection', async () => {
    await addStream();
    await relay.cut();
    await eventually(() => expect(connection.connected).toBe(false), { what: 'the loss to be seen' });
    await expect(publisher.publish(publication('a'))).rejects.toThrow(BrokerUnavailable);
    await relay.heal();
    await connected();
    expect(await publisher.publish(publication('b'))).toMatchObject({ kind: 'stored', seq: 1 });
  });

  test('is refused where the stream is full, or waits for room', async () => {
    await addStream({ max_bytes: 500 });
    for (let i = 0; i < 2; i++) await publisher.publish(publication(`a${i}`));
    await expect(publisher.publish(publication('b'))).rejects.toThrow(BrokerUnavailable);
    const patient = publisher.publish(publication('c', { patience: 'keep' }));
    const state = watch(patient);
    await eventually(() => expect(problems.length).toBeGreaterThan(0), { what: 'the refusal to be reported' });
    expect(state.settled).toBe(false);
    await onlooker.manager.streams.purge(STREAM);
    expect(await patient).toMatchObject({ kind: 'stored' });
  });

  test('is refused where the stream cannot be made', async () => {
    await expect(publisher.publish(publication('a'))).rejects.toThrow('not to be made here');
    await addStream();
    await stored(0);
  });

  test('is refused for good where it is too large for the server', async () => {
    await addStream();
    const huge = publication('a', { payload: Buffer.alloc(connection.maxPayload + 1), patience: 'keep' });
    await expect(publisher.publish(huge)).rejects.toThrow(MessageRefused);
    expect(publisher.pending).toBe(0);
  });
});

test('a missing stream is made, once, and the message stored in it', async () => {
  let made = 0;
  const ensureStream = async () => {
    made++;
    await addStream();
  };
  expect(await publisher.publish(publication('a', { ensureStream }))).toMatchObject({ kind: 'stored', seq: 1 });
  expect(made).toBe(1);
});

test('what must not be lost waits for a connection that is not there yet', async () => {
  await addStream();
  await relay.cut();
  await eventually(() => expect(connection.connected).toBe(false), { what: 'the loss to be seen' });
  const ack = publisher.publish(publication('a', { patience: 'keep' }));
  await relay.heal();
  expect(await ack).toMatchObject({ kind: 'stored', seq: 1, resent: false });
});

describe('closing', () => {
  test('waits for acknowledgements under way', async () => {
    await addStream();
    const ack = publisher.publish(publication('a'));
    await publisher.close(10_000);
    expect(await ack).toMatchObject({ kind: 'stored' });
  });

  test('refuses what is left, and what comes later: nobody would look after it', async () => {
    await addStream();
    relay.stall();
    const left = publisher.publish(publication('a', { patience: 'keep' }));
    left.catch(() => undefined);
    await publisher.close(0);
    await expect(left).rejects.toThrow(BrokerUnavailable);
    await expect(publisher.publish(publication('b', { patience: 'keep' }))).rejects.toThrow(BrokerUnavailable);
    expect(publisher.pending).toBe(0);
  });

  test('sends nothing any more that was refused while its stream was being made', async () => {
    const asked = createLatch();
    const making = createLatch();
    const ensureStream = async () => {
      asked.open();
      await making.wait();
    };
    const refused = publisher.publish(publication('a', { ensureStream }));
    refused.catch(() => undefined);
    await asked.wait('the stream to be asked for');
    await publisher.close(0);
    await addStream();
    making.open();
    await expect(refused).rejects.toThrow(BrokerUnavailable);
    await connection.nc?.flush();
    await stored(0);
  });
});
