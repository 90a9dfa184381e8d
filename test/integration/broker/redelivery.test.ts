import { expect, test } from 'vitest';
import type { Lease } from '../../../sidecar/broker/port.ts';
import type { OrderKey } from '../../../sidecar/config/config.ts';
import { conclude } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { openBroker } from './jetstream.ts';

/** Acknowledgements of replayed deliveries never arrive, as when the connection breaks at that moment. */
const deaf = `authorization { users = [
  { user: "orders", password: "x", permissions: { publish: ">", subscribe: ">" } }
  { user: "mail", password: "x", permissions: { publish: { deny: ["$JS.ACK.holdline_redeliveries.>"] }, subscribe: ">" } }
] }`;

const inOrder: { orderBy: OrderKey } = { orderBy: { kind: 'header', name: 'x-key' } };

test.each([
  { what: 'a letter', order: {} },
  { what: 'a letter of an order key', order: inOrder },
])('$what is replayed though the replay before it has not left its queue yet', async ({ order }) => {
  await using server = await startNatsServer({ config: deaf });
  const url = (user: string) => `nats://${user}:x@127.0.0.1:${server.port}`;
  await using orders = await openBroker(url('orders'));
  await using mail = await openBroker(url('mail'), { service: 'mail', instance: 'mail-1' });
  const came: Lease[] = [];
  const taking = mail.broker.subscriber('mail').subscribe({
    name: 'all',
    topic: '**',
    from: { kind: 'new' },
    ...order,
    target: () => ({ method: 'POST', path: '/', retry: { attempts: 1, backoff: { min: 1, max: 1 }, on: [] } }),
    free: () => 8,
    deliver: (lease) => came.push(lease),
    report: (error) => mail.problems.push(error),
  });
  taking.resume();
  await eventually(() => expect(taking.isMade).toBe(true), { what: 'the subscription to be made' });
  const log = orders.broker.publisher('orders');
  const event = {
    topic: 'a.b',
    publisher: 'orders',
    route: '',
    headers: ['X-Key', 'k'],
    hasBody: false,
    fingerprint: '',
  };
  await log.publish({ ...event, id: log.newEventId(), at: Date.now(), body: new Uint8Array(0) });

  const { operator } = orders.broker;
  for (const round of [1, 2, 3, 4]) {
    const lease = await eventually(
      () => {
        const found = came.find(({ action }) => action.round === round);
        if (found === undefined) throw new Error(`only ${came.length} deliveries`);
        return found;
      },
      { what: `round ${round}` },
    );
    await lease.finish(conclude(lease.action, lease.progress, 'exhausted', Date.now()));
    expect(await operator.deadLetters({ limit: 9 })).toHaveLength(1);
    expect(await operator.replay(lease.action.id)).toBe('replayed');
    expect(await operator.deadLetters({ limit: 9 })).toEqual([]);
  }
});
