import { expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { startTraced } from './traced.ts';

test('a collector that hangs neither holds up calls nor the end of the process', async () => {
  await using all = await startTraced({ status: 200 }, { collector: 'never' });
  for (let call = 0; call < 50; call++) {
    expect((await request(`${all.url}/charges`, { method: 'POST' })).status).toBe(200);
  }
  await expect.poll(() => all.collector.requests).toBeGreaterThan(0);
  expect(await Promise.all([all.orders.terminate(), all.payments.terminate()])).toEqual([
    { code: 0, signal: null },
    { code: 0, signal: null },
  ]);
});

test('a collector that is away is logged once, and calls go on', async () => {
  await using all = await startTraced({ status: 200 }, { env: { OTEL_METRICS_EXPORTER: 'none' } });
  await all.collector[Symbol.asyncDispose]();
  const told = () => all.orders.stdout.split('\n').filter((line) => line.includes('ECONNREFUSED'));
  for (let call = 0; call < 10; call++) {
    expect((await request(`${all.url}/charges`, { method: 'POST' })).status).toBe(200);
  }
  await expect.poll(told, { timeout: 30_000 }).not.toHaveLength(0);
  for (let call = 0; call < 10; call++) {
    expect((await request(`${all.url}/charges`, { method: 'POST' })).status).toBe(200);
  }
  await all.orders.terminate();
  expect(told()).toHaveLength(1);
  expect(JSON.parse(told()[0]!)).toMatchObject({ level: 'warn', where: 'telemetry' });
});
