import { expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const routes = [{ name: 'moved', match: { host: 'events' }, mode: 'broadcast', topic: 'account.moved' }];
const keys = ['a', 'b', 'c'];
const each = 12;

const brokers = {
  'NATS JetStream': startNatsServer,
  SQLite: async () => {
    const folder = await createTempDir('order-of-deliveries');
    return { url: `sqlite:${folder.join('holdline.db')}`, [Symbol.asyncDispose]: () => folder.remove() };
  },
};

test.for(Object.entries(brokers))(
  'on %s with orderBy the events of a key are taken in their order, by two instances, with retries, and over a kill -9',
  async ([, startBroker]) => {
    await using backend = await startBroker();
    const broker = backend.url;
    await using orders = await startSidecar({ service: 'orders', broker, outbound: { routes } });
    /** Numbers that were taken, by key; one may be taken again where nobody learnt that it was. */
    const taken = new Map<string, number[]>(keys.map((key) => [key, []]));
    const running = new Set<string>();
    const clashes: string[] = [];
    let seen = 0;
    await using mail = await startUpstream(async ({ body }) => {
      const { key, n } = JSON.parse(body.toString()) as { key: string; n: number };
      if (running.has(key)) clashes.push(`${key} ${n}`);
      running.add(key);
      await new Promise((resolve) => setImmediate(resolve));
      running.delete(key);
      if (++seen % 4 === 0) return { status: 503 };
      taken.get(key)!.push(n);
      return { status: 204 };
    });
    const moved = { name: 'moved', topic: 'account.*', orderBy: 'json:/key', to: 'POST /moved' };
    const config = {
      service: 'mail',
      broker,
      inbound: [{ url: mail.url, concurrency: 4 }],
      subscribe: [{ ...moved, retry: { backoff: '5ms..20ms', attempts: 50 } }],
    };
    await using one = await startSidecar(config);
    await using two = await startSidecar(config);
    for (let n = 0; n < each; n++) {
      for (const key of keys) {
        const body = JSON.stringify({ key, n });
        const answer = await request('http://events/', { method: 'POST', body, proxy: orders.outboundUrl });
        expect(answer.status).toBe(202);
      }
      if (n === 4) await one.kill9();
    }
    const last = () => keys.map((key) => taken.get(key)!.at(-1));
    await eventually(() => expect(last()).toEqual(keys.map(() => each - 1)), { what: 'the last event of each key' });
    for (const key of keys) {
      const numbers = taken.get(key)!;
      // Again, perhaps, but never back behind another.
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      expect(new Set(numbers).size).toBe(each);
    }
    expect(clashes).toEqual([]);
    expect(two.logs).not.toContain('defect');
  },
);
