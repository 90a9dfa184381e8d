import { writeFile } from 'node:fs/promises';
import { afterEach, expect, test } from 'vitest';
import { runHoldline } from '../../support/command-line.ts';
import { expectNoLeaks } from '../../support/leaks.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream } from '../../support/upstream.ts';

afterEach(expectNoLeaks);

test('a sidecar keeps its ports over kill -9 and over SIGTERM', async () => {
  await using broker = await startNatsServer();
  await using orders = await startSidecar({
    service: 'orders',
    broker: broker.url,
    outbound: { routes: [{ match: { host: 'payments' } }] },
  });
  const { pid, outboundUrl, adminUrl } = orders;
  await orders.kill9();
  await expect(orders.exited).resolves.toEqual({ code: null, signal: 'SIGKILL' });
  await orders.restart();
  expect(orders.pid).not.toBe(pid);
  expect([orders.outboundUrl, orders.adminUrl]).toEqual([outboundUrl, adminUrl]);
  await expect(orders.terminate()).resolves.toEqual({ code: 0, signal: null });
});

test('a sidecar that cannot start says why', async () => {
  await using taken = await startUpstream({ status: 503 });
  const config = {
    service: 'orders',
    broker: 'nats://127.0.0.1:1',
    outbound: {},
    admin: { listen: `127.0.0.1:${taken.port}` },
  };
  await expect(startSidecar(config)).rejects.toThrow(/sidecar of orders has ended \(exit code 1\)/);
});

test('a command runs to its end, with its exit code and what it printed', async () => {
  await using folder = await createTempDir();
  await writeFile(folder.join('orders.yaml'), 'service: orders\nbrocker: nats://127.0.0.1:4222\n');
  const { exitCode, stdout, stderr } = await runHoldline(['check', 'orders.yaml'], { cwd: folder.path });
  expect(exitCode).toBe(2);
  expect(stdout + stderr).toContain('orders.yaml:2:1: brocker');
});
