import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Upstream } from '../../support/upstream.ts';

const brokers = {
  'NATS JetStream': startNatsServer,
  SQLite: async () => {
    const folder = await createTempDir('filters');
    return { url: `sqlite:${folder.join('holdline.db')}`, [Symbol.asyncDispose]: () => folder.remove() };
  },
};
const routes = [
  { name: 'order-paid', match: { host: 'events' }, mode: 'broadcast', topic: 'order.paid' },
  { name: 'charge', match: { host: 'payments' } },
];

async function publish(orders: SidecarProcess, event: unknown, country = 'NO'): Promise<void> {
  const body = typeof event === 'string' ? event : JSON.stringify(event);
  const headers = { 'X-Country': country };
  const answer = await request('http://events/', { method: 'POST', body, headers, proxy: orders.outboundUrl });
  expect(answer.status).toBe(202);
}

/** What filters did not let through, by subscription and verdict. */
async function filtered({ adminUrl }: SidecarProcess): Promise<Record<string, number>> {
  const { text } = await request(`${adminUrl}/metrics`);
  const found = text.matchAll(/^holdline_filtered_events_total\{subscription="(.*)",verdict="(.*)"\} (\d+)$/gm);
  return Object.fromEntries([...found].map(([, name, verdict, count]) => [`${name} ${verdict}`, Number(count)]));
}

function bodies({ requests }: Upstream): string[] {
  return requests.map(({ body }) => body.toString()).toSorted();
}

describe.each(Object.entries(brokers))('on %s', (_, startBroker) => {
  test('a subscription gets the events that its filter is true for, also after a reload, and nothing is left of the others', async () => {
    await using broker = await startBroker();
    await using orders = await startSidecar({ service: 'orders', broker: broker.url, outbound: { routes } });
    await using mail = await startUpstream({ status: 204 });
    const filter = 'body.total > 100 && headers["x-country"] == "NO"';
    const large = { name: 'large', topic: 'order.*', to: 'POST /large', filter };
    const config = { service: 'mail', broker: broker.url, inbound: [{ url: mail.url, concurrency: 2 }] };
    await using sidecar = await startSidecar({ ...config, subscribe: [large] });
    const wanted: string[] = [];
    for (let n = 0; n < 40; n++) {
      const order = { n, total: n % 2 === 0 ? 150 : 50 };
      await publish(orders, order, n % 4 === 0 ? 'SE' : 'NO');
      if (n % 4 === 2) wanted.push(JSON.stringify(order));
    }
    for (const odd of ['no JSON', '{"total":"a lot"}', '{}']) await publish(orders, odd);
    await publish(orders, { n: 'last', total: 101 });
    wanted.push('{"n":"last","total":101}');
    await eventually(() => expect(bodies(mail)).toEqual(wanted.toSorted()), { what: 'what is wanted' });
    await eventually(async () => expect(await filtered(sidecar)).toEqual({ 'large differs': 30, 'large failed': 3 }), {
      what: 'the others to be counted',
    });

    await sidecar.configure({ ...config, subscribe: [{ ...large, filter: 'body.total < 10' }] });
    await eventually(() => expect(sidecar.logs).toContain('configuration reloaded'), { what: 'the reload' });
    await publish(orders, { total: 500 });
    await publish(orders, { total: 5 });
    wanted.push('{"total":5}');
    await eventually(() => expect(bodies(mail)).toEqual(wanted.toSorted()), { what: 'what is wanted now' });
    await eventually(
      async () => {
        const { text } = await request(`${sidecar.adminUrl}/metrics`);
        expect(text).toMatch(/^holdline_backlog\{service="mail\/large"\} 0$/m);
        expect(text).not.toMatch(/^holdline_dead_letters_total\{/m);
      },
      { what: 'nothing to be left' },
    );
  });
});

test('a call feed is filtered by request and response', async () => {
  await using broker = await brokers.SQLite();
  await using orders = await startSidecar({ service: 'orders', broker: broker.url, outbound: { routes } });
  await using audit = await startUpstream({ status: 204 });
  const refused = {
    name: 'refused',
    call: { service: 'payments' },
    filter: `call.caller == "orders" && request.body.amount >= 100
      && response.status == 402 && response.body.state == "refused"`,
    to: 'POST /refused',
  };
  await using auditor = await startSidecar({
    service: 'audit',
    broker: broker.url,
    inbound: [{ url: audit.url }],
    subscribe: [refused],
  });
  await using payments = await startUpstream(({ body }) => {
    const { amount } = JSON.parse(body.toString()) as { amount: number };
    return amount > 1_000 ? { status: 402, body: '{"state":"refused"}' } : { body: '{"state":"captured"}' };
  });
  await using callee = await startSidecar({
    service: 'payments',
    broker: broker.url,
    inbound: [{ url: payments.url, publishCalls: true }],
  });
  for (const amount of [1, 500, 5_000, 700]) {
    const body = JSON.stringify({ amount });
    await request('http://payments/charges', { method: 'POST', body, proxy: orders.outboundUrl });
  }
  const [told] = await audit.received(1);
  expect(JSON.parse(told!.body.toString())).toMatchObject({ data: { request: { body: '{"amount":5000}' } } });
  await eventually(async () => expect(await filtered(auditor)).toEqual({ 'refused differs': 3 }), {
    what: 'the others to be counted',
  });
  expect(audit.requests).toHaveLength(1);
  expect(callee.logs).not.toContain('defect');
});
