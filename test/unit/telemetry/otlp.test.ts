import { expect, test } from 'vitest';
import { telemetryDefaults } from '../../../sidecar/telemetry/otlp.ts';

const otlp = 'http://127.0.0.1:4318';

test.for<[why: string, otlp: string | undefined, env: Record<string, string>, on: boolean]>([
  ['nobody asks', undefined, {}, false],
  ['the configuration asks', otlp, {}, true],
  ['an endpoint is set', undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: otlp }, true],
  ['an endpoint for traces is set', undefined, { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: otlp }, true],
  ['an exporter is named', undefined, { OTEL_TRACES_EXPORTER: 'otlp' }, true],
  ['only a name is set', undefined, { OTEL_SERVICE_NAME: 'orders' }, false],
  ['what is set is empty', undefined, { OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false],
  ['exporters are switched off', undefined, { OTEL_TRACES_EXPORTER: 'none' }, false],
  ['all is switched off', otlp, { OTEL_SDK_DISABLED: 'true' }, false],
])('%s', ([, configured, env, on]) => {
  expect(telemetryDefaults(configured, env) !== undefined).toBe(on);
});

test('variables that are set go before the configuration and the defaults', () => {
  const set = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', OTEL_BSP_MAX_QUEUE_SIZE: '100' };
  const defaults = telemetryDefaults(otlp, set);
  expect(defaults).not.toHaveProperty('OTEL_EXPORTER_OTLP_ENDPOINT');
  expect(defaults).not.toHaveProperty('OTEL_BSP_MAX_QUEUE_SIZE');
  expect(telemetryDefaults(otlp, {})).toMatchObject({ OTEL_EXPORTER_OTLP_ENDPOINT: otlp, OTEL_LOGS_EXPORTER: 'none' });
});
