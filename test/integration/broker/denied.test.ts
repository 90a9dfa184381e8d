import { expect, test } from 'vitest';
import { Connection } from '../../../sidecar/broker/jetstream/connection.ts';
import { Publisher } from '../../../sidecar/broker/jetstream/publisher.ts';
import { BrokerUnavailable } from '../../../sidecar/broker/port.ts';
import { eventually } from '../../support/eventually.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { natsConfig } from './jetstream.ts';

const users = (allowed: string) => `authorization { users = [ { user: "orders", password: "x", permissions: {
  publish: { allow: [${allowed}] }, subscribe: { allow: ["_INBOX_holdline_orders.>"] } } } ] }`;

test('what the broker does not let this user send is refused at once, and what must be kept is kept', async () => {
  await using server = await startNatsServer({ config: users('"nothing"') });
  const problems: string[] = [];
  const report = (error: Error) => problems.push(error.message);
  const url = `nats://orders:x@127.0.0.1:${server.port}`;
  const connection = new Connection(natsConfig(url), 'test', report, 'orders');
  const publisher = new Publisher(connection, report);
  try {
    connection.start();
    await eventually(() => expect(connection.connected).toBe(true), { what: 'the connection' });
    const ensureStream = () => Promise.reject(new BrokerUnavailable('not to be made here'));
    const payload = Buffer.from('x');
    const denied = publisher.publish({ subject: 'letters.a', payload, patience: 'now', ensureStream });
    await expect(denied).rejects.toThrow(BrokerUnavailable);
    await expect(denied).rejects.toThrow('Permissions Violation for Publish to "letters.a"');
    const kept = publisher.publish({ subject: 'letters.b', payload, patience: 'keep', ensureStream });
    const closed = expect(kept).rejects.toThrow('stopping');
    await eventually(() => expect(problems.join()).toContain('letters.b'), { what: 'the refusal to be reported' });
    expect(publisher.pending).toBe(1);
    await publisher.close(0);
    await closed;
  } finally {
    await publisher.close(0);
    await connection.close();
  }
});
