import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { JetStreamBodies } from '../../../sidecar/broker/jetstream/bodies.ts';
import { Connection } from '../../../sidecar/broker/jetstream/connection.ts';
import type { Context } from '../../../sidecar/broker/jetstream/context.ts';
import { Lookup } from '../../../sidecar/broker/jetstream/lookup.ts';
import { Publisher } from '../../../sidecar/broker/jetstream/publisher.ts';
import { RecordCleaner } from '../../../sidecar/broker/jetstream/record-cleaner.ts';
import { Streams } from '../../../sidecar/broker/jetstream/streams.ts';
import { Subjects } from '../../../sidecar/broker/jetstream/subjects.ts';
import { CallIds } from '../../../sidecar/model/call-id.ts';
import { eventually } from '../../support/eventually.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { natsConfig, type Onlooker, openOnlooker } from './jetstream.ts';

const RECORDS = 'holdline_attempts_payments';

let server: NatsServer;
let onlooker: Onlooker;
let context: Context;
let problems: Error[];

beforeEach(async () => {
  server = await startNatsServer();
  onlooker = await openOnlooker(server.url);
  problems = [];
  const report = (error: Error) => problems.push(error);
  const config = natsConfig(server.url);
  const connection = new Connection(config, 'cleaner', report);
  const subjects = new Subjects(config.namespace);
  const streams = new Streams(connection, config, subjects);
  const lookup = new Lookup(connection, streams, 1);
  const publisher = new Publisher(connection, report);
  const { signal } = new AbortController();
  const parts = { config, connection, subjects, streams, lookup, publisher, instance: 'x', closing: signal, report };
  context = { ...parts, bodies: new JetStreamBodies(parts) };
  connection.start();
  await eventually(() => expect(connection.connected).toBe(true), { what: 'the connection' });
  await streams.ensure(streams.actions('payments'));
  await streams.ensure(streams.attempts('payments'));
});

afterEach(async () => {
  await context.publisher.close(0);
  await context.connection.close();
  await onlooker[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});

const ids = new CallIds('abcde');

/** A record, and its sequence. */
async function record(id: string, round = 1): Promise<number> {
  const reply = await onlooker.nc.request(context.subjects.progress('payments', id, round), 'record', {
    timeout: 20_000,
  });
  return reply.json<{ seq: number }>().seq;
}

async function openCall(): Promise<string> {
  const id = ids.next('payments');
  await onlooker.nc.request(context.subjects.action('payments', 'orders', id), 'action', { timeout: 20_000 });
  return id;
}

async function records(): Promise<string[]> {
  const info = await onlooker.manager.streams.info(RECORDS, { subjects_filter: '>' });
  return Object.keys(info.state.subjects ?? {});
}

function cleaner(keep: number): RecordCleaner & Disposable {
  const made = new RecordCleaner(context, 'payments', keep);
  return Object.assign(made, { [Symbol.dispose]: () => made.close() });
}

describe('a sweep', () => {
  test('deletes the records whose call is gone, and no others', async () => {
    const open = await openCall();
    await record(open, 2);
    for (let i = 0; i < 40; i++) await record(ids.next('payments'));
    using swept = cleaner(0);
    swept.sweep();
    await eventually(async () => expect(await records()).toEqual([context.subjects.progress('payments', open, 2)]), {
      what: 'the orphans to go',
    });
    expect(problems).toEqual([]);
  });

  test('leaves them their time: the broker may still have to forget an acknowledgement', async () => {
    const orphan = await record(ids.next('payments'));
    using patient = cleaner(3_600_000);
    patient.sweep();
    using hasty = cleaner(0);
    const other = await record(ids.next('payments'));
    hasty.add(other);
    await eventually(async () => expect(await onlooker.messages(RECORDS)).toBe(1), { what: 'the other to go' });
    expect((await context.lookup.at(RECORDS, orphan))?.seq).toBe(orphan);
  });
});

test('a record that was written anew meanwhile is not deleted in place of the old one', async () => {
  const id = ids.next('payments');
  const old = await record(id);
  await record(id);
  const other = await record(ids.next('payments'));
  using quick = cleaner(0);
  quick.add(old);
  quick.add(other);
  await eventually(async () => expect(await records()).toEqual([context.subjects.progress('payments', id, 1)]), {
    what: 'the other to go',
  });
  expect(problems).toEqual([]);
});

test('nothing is planned after closing', async () => {
  const kept = await record(ids.next('payments'));
  const closed = cleaner(0);
  closed.close();
  closed.add(kept);
  using quick = cleaner(0);
  quick.add(await record(ids.next('payments')));
  await eventually(async () => expect(await onlooker.messages(RECORDS)).toBe(1), { what: 'the other to go' });
  expect((await context.lookup.at(RECORDS, kept))?.seq).toBe(kept);
});
