import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Lease, PublisherLog, SubscriptionTaking } from '../../../sidecar/broker/port.ts';
import { conclude } from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { openBroker, type OpenBroker } from './jetstream.ts';

/** Takes every event at once; the ids of those that came. */
function subscribe({ broker, problems }: OpenBroker): { came: string[]; taking: SubscriptionTaking } {
  const came: string[] = [];
  const deliver = (lease: Lease) => {
    came.push(lease.action.delivery!.event);
    lease
      .finish(conclude(lease.action, lease.progress, 'answered', Date.now()))
      .catch((error: Error) => problems.push(error));
  };
  const taking = broker.subscriber('mail').subscribe({
    name: 'all',
    topic: '**',
    from: { kind: 'new' },
    target: () => ({ method: 'POST', path: '/', retry: { attempts: 1, backoff: { min: 1, max: 1 }, on: [] } }),
    free: () => 8,
    deliver,
    report: (error) => problems.push(error),
  });
  taking.resume();
  return { came, taking };
}

async function publish(log: PublisherLog, count: number): Promise<string[]> {
  const ids = Array.from({ length: count }, () => log.newEventId());
  for (const id of ids) {
    const event = { topic: 'a.b', publisher: 'orders', route: '', headers: [], hasBody: false, fingerprint: '' };
    await log.publish({ ...event, id, at: Date.now(), body: new Uint8Array(0) });
  }
  return ids;
}

test('a subscription that is ahead of a stream which lost its end gets what is published next', async () => {
  await using server = await startNatsServer();
  await using orders = await openBroker(server.url);
  await using mail = await openBroker(server.url, { service: 'mail', instance: 'mail-1' });
  const log = orders.broker.publisher('orders');
  const { came, taking } = subscribe(mail);
  await eventually(() => expect(taking.isMade).toBe(true), { what: 'the subscription to be made' });
  const all = (ids: readonly string[]) =>
    eventually(() => expect(ids.filter((id) => !came.includes(id))).toEqual([]), { what: 'every event' });
  const restart = async () => {
    await server.restart();
    for (const { broker } of [orders, mail]) {
      await eventually(() => expect(broker.status.connected).toBe(true), { what: 'the connection to be back' });
    }
  };
  await all(await publish(log, 3));

  const messages = join(server.storeDir, 'jetstream', '$G', 'streams', 'holdline_broadcasts', 'msgs');
  await server.stop();
  await cp(messages, `${messages}.kept`, { recursive: true });
  await restart();
  await all(await publish(log, 20));
  await server.stop();
  await rm(messages, { recursive: true });
  await rename(`${messages}.kept`, messages);
  await restart();
  await eventually(() => expect(mail.problems.join()).toContain('mail_all is made anew'), { what: 'the remedy' });
  await all(await publish(log, 3));
});
