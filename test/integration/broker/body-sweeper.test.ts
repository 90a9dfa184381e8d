import { afterEach, beforeEach, expect, test } from 'vitest';
import { BodySweeper } from '../../../sidecar/broker/jetstream/body-sweeper.ts';
import { JetStreamBodies } from '../../../sidecar/broker/jetstream/bodies.ts';
import { Connection } from '../../../sidecar/broker/jetstream/connection.ts';
import type { Context } from '../../../sidecar/broker/jetstream/context.ts';
import { Lookup } from '../../../sidecar/broker/jetstream/lookup.ts';
import { Publisher } from '../../../sidecar/broker/jetstream/publisher.ts';
import { Streams } from '../../../sidecar/broker/jetstream/streams.ts';
import { Subjects } from '../../../sidecar/broker/jetstream/subjects.ts';
import { aBody, digestOf, placeOf } from '../../conformance/large-body.ts';
import { eventually } from '../../support/eventually.ts';
import { startNatsServer, type NatsServer } from '../../support/nats-server.ts';
import { natsConfig, openBroker, openOnlooker, sampleAction } from './jetstream.ts';

let server: NatsServer;
let context: Context;

beforeEach(async () => {
  server = await startNatsServer();
  const report = (error: Error) => expect.fail(error.message);
  const config = natsConfig(server.url);
  const connection = new Connection(config, 'sweeper', report);
  const subjects = new Subjects(config.namespace);
  const streams = new Streams(connection, config, subjects);
  const lookup = new Lookup(connection, streams, 1);
  const publisher = new Publisher(connection, report);
  const { signal } = new AbortController();
  const parts = { config, connection, subjects, streams, lookup, publisher, instance: 'x', closing: signal, report };
  context = { ...parts, bodies: new JetStreamBodies(parts) };
  connection.start();
  await eventually(() => expect(connection.connected).toBe(true), { what: 'the connection' });
});

afterEach(async () => {
  await context.publisher.close(0);
  await context.connection.close();
  await server[Symbol.asyncDispose]();
});

test('what a dying sidecar left behind goes, what a call or a letter refers to stays', async () => {
  await using orders = await openBroker(server.url);
  await using onlooker = await openOnlooker(server.url);
  const log = orders.broker.caller('orders');
  const write = (id: string) => orders.broker.bodies.write(placeOf(id), aBody(600_000), new AbortController().signal);
  const [open, left] = [log.newCallId('payments'), log.newCallId('payments')];
  const bodyRef = await write(open);
  await log.store(sampleAction(open, { body: Buffer.alloc(0), bodyRef }));
  await write(left);
  const messages = () => onlooker.messages('holdline_bodies_payments');
  expect(await messages()).toBe(6);
  // Whoever is still writing must be let be.
  const patient = new BodySweeper(context, 'payments');
  const sweeper = new BodySweeper(context, 'payments', 0);
  try {
    await patient.sweep();
    expect(await messages()).toBe(6);
    await sweeper.sweep();
    expect(await messages()).toBe(3);
    expect(await digestOf(orders.broker.bodies.read(bodyRef))).toMatchObject({ size: 600_000 });
  } finally {
    patient.close();
    sweeper.close();
  }
});
