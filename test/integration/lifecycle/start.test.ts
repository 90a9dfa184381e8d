import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarConfig } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

const routes = [{ name: 'charge', match: { host: 'payments', method: 'POST' }, service: 'payments' }];

async function readiness(adminUrl: string) {
  const answer = await request(`${adminUrl}/ready`);
  return { status: answer.status, body: answer.json() };
}

describe('the order of the start does not matter', () => {
  test('a sidecar starts without its broker, says so, and is ready when that is there', async () => {
    const port = await freePort();
    const config = { service: 'orders', broker: `nats://127.0.0.1:${port}`, outbound: { routes } };
    await using sidecar = await startSidecar(config, { until: 'live' });
    expect(await readiness(sidecar.adminUrl)).toMatchObject({
      status: 503,
      body: {
        ready: false,
        service: 'orders',
        problems: [expect.stringContaining('the broker is not connected')],
        broker: { connected: false },
        outbound: { listeners: [new URL(sidecar.outboundUrl).host], held: 0 },
      },
    });
    const refused = await request('http://payments/charges', { method: 'POST', proxy: sidecar.outboundUrl, body: 'x' });
    expect(refused).toMatchObject({ status: 503 });
    expect(refused.header('holdline-error')).toBe('broker-unavailable');
    await eventually(() => expect(sidecar.logs).toContain('broker not connected'), { what: 'a line in the log' });

    await using server = await startNatsServer({ port });
    await sidecar.ready();
    expect(server.port).toBe(port);
    expect(await readiness(sidecar.adminUrl)).toMatchObject({
      status: 200,
      body: {
        ready: true,
        problems: [],
        broker: { connected: true, engine: 'JetStream', survives: { sidecarKill: true, brokerKill: true } },
      },
    });
    await eventually(() => expect(sidecar.logs).toContain('broker connected'), { what: 'the good news in the log' });
  });

  test('caller first, then the peer’s sidecar, then the peer: the call is held and answered', async () => {
    await using server = await startNatsServer();
    await using orders = await startSidecar({ service: 'orders', broker: server.url, outbound: { routes } });
    const answer = request('http://payments/charges', { method: 'POST', proxy: orders.outboundUrl, body: '{}' });

    await using upstream = await startUpstream({ status: 201, body: 'charged' });
    await upstream.down();
    const inbound = [{ url: upstream.url }];
    await using payments = await startSidecar({ service: 'payments', broker: server.url, inbound });
    const { status, body } = await readiness(payments.adminUrl);
    // A service that is down is shown, and is no reason to be unready.
    expect({ status, body }).toMatchObject({ status: 200, body: { ready: true, inbound: [{ service: 'payments' }] } });

    await upstream.up();
    expect(await answer).toMatchObject({ status: 201, text: 'charged' });
    expect(upstream.requests).toHaveLength(1);
  });
});

describe('a start that cannot be', () => {
  async function failing(config: SidecarConfig) {
    await using sidecar = await startSidecar(config, { until: 'spawned' });
    const { code } = await sidecar.exited;
    return { code, stdout: sidecar.stdout, stderr: sidecar.stderr };
  }

  test.each(['admin', 'outbound'])(
    'a port that %s wants and another has: exit code 1, and it says which',
    async (part) => {
      const taken = createServer().listen(0, '127.0.0.1');
      await once(taken, 'listening');
      const { port } = taken.address() as { port: number };
      const listen = `127.0.0.1:${port}`;
      try {
        const outbound = part === 'outbound' ? { listen, routes } : { routes };
        const admin = part === 'admin' ? { listen } : {};
        const result = await failing({ service: 'orders', broker: 'nats://127.0.0.1:1', outbound, admin });
        expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining(listen) });
        expect(result.stderr).toMatch(/taken|in use/);
        expect(result.stderr, 'a stack is for those who ask for it').not.toContain('    at ');
      } finally {
        taken.close();
        await once(taken, 'close');
      }
    },
  );

  test('an invalid configuration: exit code 2, every mistake at its place', async () => {
    await using folder = await createTempDir();
    const file = folder.join('bad.yaml');
    await writeFile(file, 'service: Orders\nbroker: nats://127.0.0.1:4222\noutbond: {}\n');
    const { exitCode, stdout, stderr } = await runHoldline(['run', '--config', file]);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toContain(`${file}:1:`);
    expect(stderr).toContain(`${file}:3:`);
  });
});
