import { cp, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { jetstream } from '@nats-io/jetstream';
import { expect } from 'vitest';
import { CONSUMER, consumerConfig } from '../../../sidecar/broker/jetstream/consumer.ts';
import { eventually } from '../../support/eventually.ts';
import type { NatsServer } from '../../support/nats-server.ts';
import type { Onlooker, OpenBroker } from './jetstream.ts';

/*
 * A nats-server that is killed, or whose disk was full, can come back with a consumer whose acknowledgement floor is
 * above messages that are still in the stream. It then never delivers them. The tests bring about that state on disk:
 * they put the messages of the stream back to what they were before they were acknowledged, and leave the consumer.
 */

const stream = 'holdline_actions_payments';

interface Parts {
  readonly server: NatsServer;
  readonly onlooker: Onlooker;
  readonly caller: OpenBroker;
}

/** Has the calls settled, and makes the stream, but not its consumer, forget that. */
export async function forgetting({ server, onlooker, caller }: Parts, settle: () => Promise<void>): Promise<void> {
  const restart = () => restarted({ server, onlooker, caller });
  await onlooker.manager.consumers.add(stream, consumerConfig);
  const before = await onlooker.messages(stream);
  const messages = join(server.storeDir, 'jetstream', '$G', 'streams', stream, 'msgs');
  await server.stop();
  await cp(messages, `${messages}.kept`, { recursive: true });
  await restart();
  await settle();
  const { state: last } = await onlooker.manager.streams.info(stream);
  // The server writes it a moment after the acknowledgements, and a server that is busy not even when it is stopped.
  const written = join(server.storeDir, 'jetstream', '$G', 'streams', stream, 'obs', CONSUMER, 'o.dat');
  await eventually(async () => expect(floorIn(await readFile(written))).toBe(last.last_seq), {
    what: 'the acknowledgements to be on disk',
    timeoutMs: 30_000,
  });
  await server.stop();
  await rm(messages, { recursive: true });
  await rename(`${messages}.kept`, messages);
  await restart();
  const { state } = await onlooker.manager.streams.info(stream);
  const { ack_floor: floor, num_pending: pending } = await onlooker.manager.consumers.info(stream, CONSUMER);
  // Without this the test would prove nothing.
  expect({ messages: state.messages, pending, floor: floor.stream_seq }).toEqual({
    messages: before,
    pending: 0,
    floor: Math.max(state.last_seq, floor.stream_seq),
  });
  expect(floor.stream_seq).toBeGreaterThanOrEqual(state.last_seq);
}

/**
 * The acknowledgement floor, in sequences of the stream, in a consumer's state as nats-server writes it: two bytes, then the floor as
 * the consumer and as the stream counts, as varints (nats-server, `encodeConsumerState`).
 */
function floorIn(state: Buffer): number {
  let at = 2;
  const next = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = state[at++] ?? 0;
      value += (byte % 128) * scale;
      if (byte < 128) return value;
    }
  };
  next();
  return next();
}

/** Acknowledges all that is there, as a callee that is done with it. */
export async function acknowledge(onlooker: Onlooker): Promise<void> {
  const consumer = await jetstream(onlooker.nc).consumers.get(stream, CONSUMER);
  for (let left = await onlooker.messages(stream); left > 0; left--) {
    const message = await consumer.next();
    expect(await message?.ackAck()).toBe(true);
  }
}

/** Resolves when no action is left. */
export async function settled(onlooker: Onlooker): Promise<void> {
  await eventually(async () => expect(await onlooker.messages(stream)).toBe(0), {
    what: 'the stream of actions to be empty',
    timeoutMs: 30_000,
  });
}

async function restarted({ server, onlooker, caller }: Parts): Promise<void> {
  await server.restart();
  await eventually(
    async () => {
      await onlooker.nc.flush();
      expect(caller.broker.status.connected).toBe(true);
    },
    { what: 'the clients to be back', timeoutMs: 30_000 },
  );
}
