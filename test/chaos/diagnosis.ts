import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';

/** What a nats-server says of its streams and consumers, for whoever has to find out why calls do not move. */
export async function diagnose(url: string): Promise<unknown> {
  const connection = await connect({ servers: url.replaceAll('nats://', '').split(',') });
  try {
    const manager = await jetstreamManager(connection);
    const streams = [];
    for await (const { config, state } of manager.streams.list()) {
      const consumers = [];
      for await (const {
        name,
        delivered,
        ack_floor,
        num_pending,
        num_ack_pending,
        num_waiting,
      } of manager.consumers.list(config.name)) {
        consumers.push({ name, delivered, ack_floor, num_pending, num_ack_pending, num_waiting });
      }
      streams.push({ stream: config.name, state, consumers });
    }
    return streams;
  } finally {
    await connection.close();
  }
}
