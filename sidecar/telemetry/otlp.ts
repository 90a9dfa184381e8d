import type { Registry } from 'prom-client';

/** Traces and metrics on their way to a collector. */
export interface Telemetry {
  /** Which of the two are sent. */
  readonly signals: readonly ('traces' | 'metrics')[];
  /** Sends what is left, for `limitMs` at most. Never rejects. */
  stop(limitMs: number): Promise<void>;
}

export interface TelemetryOptions {
  /** `telemetry.otlp` of the configuration. */
  readonly otlp: string | undefined;
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  /** What stores the events, such as `nats`. */
  readonly system: string;
  /** The metrics. */
  readonly registry: Registry;
  /** Something about telemetry itself that an operator should know. */
  readonly report: (problem: Error) => void;
}

/**
 * Begins to send traces and metrics by OTLP where the configuration or the `OTEL_*` variables ask for it. Only then is
 * anything of OpenTelemetry loaded.
 * @param env gets the defaults that Holdline has for `OTEL_*` variables which are not set: the SDK is configured by them
 */
export async function startTelemetry(
  options: TelemetryOptions,
  env: NodeJS.ProcessEnv,
): Promise<Telemetry | undefined> {
  const defaults = telemetryDefaults(options.otlp, env);
  if (defaults === undefined) return undefined;
  Object.assign(env, defaults);
  const { OpenTelemetry } = await import('./opentelemetry.ts');
  return new OpenTelemetry(options, env);
}

const endpoints = [
  'OTEL_EXPORTER_OTLP_ENDPOINT',
  'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT',
  'OTEL_EXPORTER_OTLP_METRICS_ENDPOINT',
] as const;

/**
 * Holdline's defaults for variables that are not set in `env`; undefined where nobody asks for telemetry. The variables go
 * before the configuration, as one deployment may need another collector than the file says.
 */
export function telemetryDefaults(
  otlp: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string> | undefined {
  const isSet = (name: string) => (env[name] ?? '') !== '';
  if (env['OTEL_SDK_DISABLED']?.toLowerCase() === 'true') return undefined;
  const named = ['OTEL_TRACES_EXPORTER', 'OTEL_METRICS_EXPORTER'].some((name) => isSet(name) && env[name] !== 'none');
  if (otlp === undefined && !named && !endpoints.some(isSet)) return undefined;
  const defaults: Record<string, string> = {
    ...(otlp !== undefined && { OTEL_EXPORTER_OTLP_ENDPOINT: otlp }),
    // The log goes to stdout.
    OTEL_LOGS_EXPORTER: 'none',
    // The command line and the user of a process are nobody's business.
    OTEL_NODE_RESOURCE_DETECTORS: 'env,host',
    // A busy sidecar makes several thousand spans a second; what does not fit is dropped, and said so.
    OTEL_BSP_MAX_QUEUE_SIZE: '8192',
    OTEL_BSP_SCHEDULE_DELAY: '1000',
    OTEL_BSP_EXPORT_TIMEOUT: '10000',
  };
  return Object.fromEntries(Object.entries(defaults).filter(([name]) => !isSet(name)));
}
