import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import { createLatch } from '../../support/latch.ts';
import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { type NatsServer, startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { startUpstream } from '../../support/upstream.ts';

let server: NatsServer;
beforeAll(async () => {
  server = await startNatsServer();
});
afterAll(async () => server[Symbol.asyncDispose]());

const routes = [{ name: 'charge', match: { method: 'POST' } }];
let count = 0;
/** A callee of its own for each test. */
const callee = () => `payments-${++count}`;

async function held(sidecar: SidecarProcess, calls: number): Promise<void> {
  await eventually(
    async () => {
      const health = (await request(`${sidecar.adminUrl}/ready`)).json();
      expect(health).toMatchObject({ outbound: { held: calls } });
    },
    { what: `${calls} calls to be held` },
  );
}

async function stored(service: string): Promise<void> {
  await eventually(
    async () => {
      const { stdout } = await runHoldline(['calls', 'list', '--json', '--broker', server.url]);
      expect(JSON.parse(stdout)).toMatchObject({
        calls: expect.arrayContaining([expect.objectContaining({ service })]),
      });
    },
    { what: `a stored call to ${service}`, timeoutMs: 30_000 },
  );
}

describe('SIGTERM', () => {
  test('ends an idle sidecar with 0', async () => {
    await using sidecar = await startSidecar({ service: 'orders', broker: server.url, outbound: { routes } });
    expect(await sidecar.terminate()).toEqual({ code: 0, signal: null });
    expect(sidecar.logs).toContain('"msg":"stopped"');
    expect(sidecar.logs).not.toContain('something kept the process');
  });

  test('ends one whose broker is away with 0', async () => {
    const config = {
      service: 'orders',
      broker: 'nats://127.0.0.1:1',
      outbound: { routes },
      inbound: [{ url: 'http://127.0.0.1:1' }],
    };
    await using sidecar = await startSidecar(config, { until: 'live' });
    expect(await sidecar.terminate()).toEqual({ code: 0, signal: null });
    expect(sidecar.logs).not.toContain('something kept the process');
  });

  test('lets callers have the answers that come within the drain time, and is unready meanwhile', async () => {
    const service = callee();
    const gate = createLatch();
    await using upstream = await startUpstream(async () => {
      await gate.wait();
      return { status: 201, body: 'charged' };
    });
    await using payments = await startSidecar({ service, broker: server.url, inbound: [{ url: upstream.url }] });
    await using orders = await startSidecar({ service: 'orders', broker: server.url, outbound: { routes } });
    const answer = request(`http://${service}/charges`, { method: 'POST', proxy: orders.outboundUrl });
    await upstream.received(1);
    orders.beginTermination();
    payments.beginTermination();
    await eventually(
      async () => {
        const { status, text } = await request(`${orders.adminUrl}/ready`);
        expect({ status, text }).toMatchObject({ status: 503, text: expect.stringContaining('stopping') });
      },
      { what: 'the sidecar to be unready' },
    );
    gate.open();
    expect(await answer).toMatchObject({ status: 201, text: 'charged' });
    expect(await orders.exited).toEqual({ code: 0, signal: null });
    expect(await payments.exited).toEqual({ code: 0, signal: null });
  });

  test('tells callers that wait longer than the drain time, and their calls go on', async () => {
    const service = callee();
    const shutdown = { drain: '300ms' };
    await using orders = await startSidecar({ service: 'orders', broker: server.url, outbound: { routes }, shutdown });
    const waiting = request(`http://${service}/charges`, { method: 'POST', proxy: orders.outboundUrl });
    await held(orders, 1);
    expect(await orders.terminate()).toEqual({ code: 0, signal: null });
    const refused = await waiting;
    expect(refused.status).toBe(503);
    expect(refused.header('holdline-error')).toBe('shutting-down');
    expect(refused.header('location')).toMatch(/^\/\.holdline\/calls\//);

    await using upstream = await startUpstream({ status: 201, body: 'charged' });
    await using payments = await startSidecar({ service, broker: server.url, inbound: [{ url: upstream.url }] });
    await Promise.all([payments.ready(), orders.restart()]);
    const later = await request(`${orders.outboundUrl}${refused.header('location')}`, {
      headers: { prefer: 'wait=20' },
    });
    expect(later).toMatchObject({ status: 201, text: 'charged' });
    expect(upstream.requests).toHaveLength(1);
  });

  test('a second time ends it at once with 1, and the call is not lost', async () => {
    const service = callee();
    await using orders = await startSidecar({ service: 'orders', broker: server.url, outbound: { routes } });
    const waiting = request(`http://${service}/charges`, { method: 'POST', proxy: orders.outboundUrl });
    const gone = expect(waiting).rejects.toThrow(/socket hang up|ECONNRESET/);
    // Held is not stored yet, and what is not stored was never promised.
    await stored(service);
    orders.beginTermination();
    await eventually(() => expect(orders.logs).toContain('"msg":"stopping"'), { what: 'the first signal to be seen' });
    expect(await orders.terminate()).toEqual({ code: 1, signal: null });
    await gone;

    await using upstream = await startUpstream({ status: 201 });
    await using payments = await startSidecar({ service, broker: server.url, inbound: [{ url: upstream.url }] });
    await payments.ready();
    expect(await upstream.received(1)).toHaveLength(1);
  });
});
