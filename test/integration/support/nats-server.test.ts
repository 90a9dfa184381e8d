import { jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { afterEach, describe, expect, inject, test } from 'vitest';
import { createLatch } from '../../support/latch.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';

afterEach(expectNoLeaks);

async function withClient<T>(server: NatsServer, use: (client: NatsConnection) => Promise<T>): Promise<T> {
  const client = await connect({ servers: server.url, reconnect: false });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

const addStream = (client: NatsConnection) =>
  jetstreamManager(client).then((manager) => manager.streams.add({ name: 'kept', subjects: ['kept'] }));
const streamNames = async (client: NatsConnection) => {
  const manager = await jetstreamManager(client);
  return (await manager.streams.names().next()).toSorted();
};

describe.for(inject('natsServers'))('nats-server $version', ({ bin, version }) => {
  test('takes clients, and is the version that was asked for', async () => {
    await using server = await startNatsServer({ bin });
    expect(await withClient(server, async (client) => client.info?.version)).toBe(version);
  });

  test('keeps its port and its streams over kill -9 and over a stop', async () => {
    await using server = await startNatsServer({ bin });
    const { url, pid } = server;
    await withClient(server, addStream);
    await server.kill9();
    await server.restart();
    expect(await withClient(server, streamNames)).toEqual(['kept']);
    await server.stop();
    await server.restart();
    expect(await withClient(server, streamNames)).toEqual(['kept']);
    expect(server.url).toBe(url);
    expect(server.pid).not.toBe(pid);
  });

  test('answers nobody while it is suspended', async () => {
    await using server = await startNatsServer({ bin });
    await withClient(server, async (client) => {
      await server.suspend();
      const answered = createLatch();
      const flushed = client.flush().then(() => answered.open());
      await expect(answered.wait('an answer that must not come', 200)).rejects.toThrow('must not come');
      server.resume();
      await flushed;
    });
  });

  test('takes further configuration', async () => {
    await using server = await startNatsServer({
      bin,
      jetstream: 'max_file_store: 10MB',
      config: 'authorization { user: orders, password: secret }',
    });
    await expect(connect({ servers: server.url, reconnect: false })).rejects.toThrow(/authorization/i);
    const client = await connect({ servers: server.url, user: 'orders', pass: 'secret' });
    expect((await (await jetstreamManager(client)).getAccountInfo()).limits).toBeDefined();
    await client.close();
  });
});

test('a server that cannot start says why', async () => {
  await expect(startNatsServer({ config: 'no such thing' })).rejects.toThrow(/nats-server has ended.*exit code 1/);
});
