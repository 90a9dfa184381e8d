import { expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { startTraced } from './traced.ts';

test('a collector that hangs neither holds up calls nor the end of the process', async () => {
  // Were it waited for as long as this, the watchdog would end the process, with another exit code.
  const env = { OTEL_EXPORTER_OTLP_TIMEOUT: '600000', OTEL_BSP_EXPORT_TIMEOUT: '600000' };
  await using all = await startTraced({ status: 200 }, { collector: 'never', env });
  for (let call = 0; call < 50; call++) {
    expect((await request(`${all.url}/charges`, { method: 'POST' })).status).toBe(200);
  }
  await expect.poll(() => all.collector.requests).toBeGreaterThan(0);
  expect(await Promise.all([all.orders.terminate(), all.payments.terminate()])).toEqual([
    { code: 0, signal: null },
    { code: 0, signal: null },
  ]);
});

test('a collector that takes nothing is logged once, and calls go on', async () => {
  const env = { OTEL_METRICS_EXPORTER: 'none' };
  await using all = await startTraced({ status: 200 }, { collector: 'refusing', env });
  const told = () => all.orders.stdout.split('\n').filter((line) => line.includes('"where":"telemetry"'));
  await expect
    .poll(
      async () => {
        expect((await request(`${all.url}/charges`, { method: 'POST' })).status).toBe(200);
        return all.collector.requests;
      },
      { timeout: 30_000, interval: 50 },
    )
    .toBeGreaterThan(10);
  expect(told()).toHaveLength(1);
  expect(JSON.parse(told()[0]!)).toMatchObject({ level: 'warn', where: 'telemetry' });
});

test('a collector that is not there at all: calls go on, and the sidecar ends in good order', async () => {
  await using all = await startTraced({ status: 200 });
  await all.collector[Symbol.asyncDispose]();
  for (let call = 0; call < 20; call++) {
    expect((await request(`${all.url}/charges`, { method: 'POST' })).status).toBe(200);
  }
  expect(await all.orders.terminate()).toEqual({ code: 0, signal: null });
});
