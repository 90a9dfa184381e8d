import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { runHoldline } from '../../support/command-line.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';
import { scale } from '../limits/scale.ts';

const { events: count } = scale;
const limit = 60_000 + count * 100;
const routes = [{ name: 'order-paid', match: { host: 'events' }, mode: 'broadcast', topic: 'order.paid' }];
const retry = { backoff: '10ms..100ms' };

const brokers = {
  'NATS JetStream': startNatsServer,
  SQLite: async () => {
    const folder = await createTempDir('broadcasts');
    return { url: `sqlite:${folder.join('holdline.db')}`, [Symbol.asyncDispose]: () => folder.remove() };
  },
};

function subscriber(service: string, broker: string, url: string, subscription: object): Promise<SidecarProcess> {
  const subscribe = [{ name: 'paid', topic: 'order.*', to: 'POST /paid', url, retry, ...subscription }];
  return startSidecar({ service, broker, subscribe });
}

async function publish(orders: SidecarProcess, body: string, headers: Record<string, string> = {}) {
  const answer = await request('http://events/', { method: 'POST', body, headers, proxy: orders.outboundUrl });
  if (answer.status !== 202) throw new Error(`${answer.status} ${answer.text}`);
  return answer.json() as { id: string; topic: string };
}

/** Ids of the events that a service took. */
function taken({ requests }: Upstream): Set<string | undefined> {
  return new Set(requests.filter(({ target }) => target === '/paid').map((each) => each.header('ce-id')));
}

/** What each of these events brought with it. */
function bodies({ requests }: Upstream): Map<string | undefined, string> {
  return new Map(requests.map((each) => [each.header('ce-id'), each.body.toString()]));
}

describe.each(Object.entries(brokers))('on %s', (_, startBroker) => {
  test(
    `three subscriptions get all of ${count} events: one down all the while, one late, one that fails every third time`,
    async () => {
      await using broker = await startBroker();
      await using orders = await startSidecar({ service: 'orders', broker: broker.url, outbound: { routes } });
      await using mail = await startUpstream({ status: 204 });
      await mail.down();
      await using mailSidecar = await subscriber('mail', broker.url, mail.url, {});
      const accepted = new Set<string | undefined>();
      let deliveries = 0;
      await using search = await startUpstream((received) => {
        if (++deliveries % 3 === 0) return { status: 500 };
        accepted.add(received.header('ce-id'));
        return { status: 200 };
      });
      await using searchSidecar = await subscriber('search', broker.url, search.url, {
        retry: { ...retry, attempts: 20 },
      });
      const published = new Map<string, string>();
      const publisher = async (from: number, to: number) => {
        for (let n = from; n < to; n += 10) published.set((await publish(orders, `event ${n}`)).id, `event ${n}`);
      };
      const publishAll = (begin: number, to: number) =>
        Promise.all(Array.from({ length: 10 }, (__, lane) => publisher(begin + lane, to)));
      // First only its service is down, then its sidecar, too; both come back when all is published.
      await publishAll(0, count / 2);
      await mailSidecar.kill9();
      await publishAll(count / 2, count);
      expect(published.size).toBe(count);
      await using audit = await startUpstream({ status: 200 });
      await using auditSidecar = await subscriber('audit', broker.url, audit.url, { from: 'first' });
      expect(mail.requests).toEqual([]);
      await mail.up();
      await mailSidecar.restart();
      for (const service of [mail, search, audit]) {
        await eventually(() => expect(taken(service).size).toBe(count), { what: 'every event', timeoutMs: limit });
        expect(bodies(service)).toEqual(published);
      }
      const ids = new Set(published.keys());
      await eventually(() => expect(accepted).toEqual(ids), { what: 'what was refused to be taken after all' });
      expect(deliveries).toBeGreaterThan((count * 4) / 3);
      // No attempt was spent on a service that was down, and no letter was left.
      expect(mail.requests.every((each) => each.header('holdline-attempt') === '1')).toBe(true);
      const letters = await runHoldline(['dead-letters', 'list', '--json', '--broker', broker.url]);
      expect(JSON.parse(letters.stdout)).toEqual({ deadLetters: [] });
      expect([mailSidecar, searchSidecar, auditSidecar].map(({ logs }) => logs).join('')).not.toContain('defect');
    },
    limit + 60_000,
  );
});

// What is the same on every broker, once each.
test('a delivery is the request as it was, with CloudEvents headers; what is refused is a dead letter of the subscription', async () => {
  await using broker = await brokers.SQLite();
  await using orders = await startSidecar({ service: 'orders', broker: broker.url, outbound: { routes } });
  await using mail = await startUpstream({ status: 204 });
  await using mailSidecar = await subscriber('mail', broker.url, mail.url, {
    to: 'PUT /hooks/paid?v=1',
    retry: { ...retry, attempts: 2 },
  });
  const headers = { 'Content-Type': 'application/xml', 'X-Tenant': 'a', Authorization: 'Bearer secret' };
  const event = await publish(orders, '<paid/>', headers);
  expect(event).toEqual({ id: expect.any(String), topic: 'order.paid' });
  const [first] = await mail.received(1);
  expect(first).toMatchObject({ method: 'PUT', target: '/hooks/paid?v=1' });
  expect(first!.body.toString()).toBe('<paid/>');
  const expected = {
    host: new URL(mail.url).host,
    'content-type': 'application/xml',
    'x-tenant': 'a',
    authorization: undefined,
    'ce-specversion': '1.0',
    'ce-id': event.id,
    'ce-type': 'order.paid',
    'ce-source': '/services/orders',
    'holdline-caller': 'orders',
    'holdline-attempt': '1',
  };
  expect(Object.fromEntries(Object.keys(expected).map((name) => [name, first!.header(name)]))).toEqual(expected);
  expect(Date.parse(first!.header('ce-time') ?? '')).toBeGreaterThan(Date.now() - 600_000);

  mail.always({ status: 500 });
  const refused = await publish(orders, '<broken/>');
  const list = async () => {
    const { stdout } = await runHoldline(['dead-letters', 'list', '--json', '--broker', broker.url]);
    return (JSON.parse(stdout) as { deadLetters: { id: string; event: string; history: unknown[] }[] }).deadLetters;
  };
  const [letter] = await eventually(
    async () => {
      const letters = await list();
      expect(letters).toHaveLength(1);
      return letters;
    },
    { what: 'a dead letter' },
  );
  expect(letter).toMatchObject({
    reason: 'exhausted',
    caller: 'orders',
    service: 'mail',
    subscription: 'paid',
    event: refused.id,
    topic: 'order.paid',
    status: 500,
    history: [{ evidence: 'retry-status' }, { evidence: 'retry-status' }],
  });
  expect(mailSidecar.logs).toContain('dead letter');
  const shown = await runHoldline(['dead-letters', 'show', letter!.id, '--broker', broker.url]);
  expect(shown.stdout).toContain('paid');
  mail.always({ status: 200 });
  await runHoldline(['dead-letters', 'replay', letter!.id, '--broker', broker.url]);
  const all = await mail.received(4);
  expect(all[3]!.body.toString()).toBe('<broken/>');
  expect([all[3]!.header('ce-id'), all[3]!.header('holdline-attempt')]).toEqual([refused.id, '3']);
  await eventually(async () => expect(await list()).toEqual([]), { what: 'the letter to be gone' });
});

test('kill -9 of a subscriber’s sidecar in the middle of deliveries, and a reload: nothing is lost', async () => {
  await using broker = await brokers['NATS JetStream']();
  await using orders = await startSidecar({ service: 'orders', broker: broker.url, outbound: { routes } });
  await using mail = await startUpstream({ status: 204 });
  const paid = { name: 'paid', topic: 'order.*', to: 'POST /paid', retry };
  const config = { service: 'mail', broker: broker.url, inbound: [{ url: mail.url, concurrency: 4 }] };
  await using sidecar = await startSidecar({ ...config, subscribe: [paid] });
  const published = new Set<string>();
  for (let n = 0; n < 60; n++) {
    published.add((await publish(orders, `event ${n}`)).id);
    if (n === 20) {
      await sidecar.kill9();
      await sidecar.restart();
    }
    if (n === 40) {
      await sidecar.configure({ ...config, subscribe: [] });
      await eventually(() => expect(sidecar.logs).toContain('the subscription was removed'), { what: 'the reload' });
    }
  }
  const [last] = [...published].slice(-1);
  expect(taken(mail).has(last)).toBe(false);
  const other = { ...paid, name: 'other', to: 'POST /other', from: 'first' };
  await sidecar.configure({ ...config, subscribe: [paid, other] });
  await eventually(() => expect(taken(mail)).toEqual(published), { what: 'every event' });
  await publish(orders, 'for both');
  await eventually(() => expect(mail.requests.filter(({ target }) => target === '/other')).toHaveLength(61), {
    what: 'all of them at the new subscription',
  });
});
