import { diag, DiagLogLevel, ROOT_CONTEXT, trace, type ContextManager } from '@opentelemetry/api';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtobufMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace';
import { CalleeSpans } from './callee-spans.ts';
import { CallerSpans } from './caller-spans.ts';
import { leanExporter } from './lean-exporter.ts';
import { LeanSpans } from './lean-spans.ts';
import type { Telemetry, TelemetryOptions } from './otlp.ts';
import { RegistryProducer } from './registry-producer.ts';
import { SdkSpans } from './sdk-spans.ts';
import { SpanIds } from './span-ids.ts';
import { Subscriptions } from './subscriptions.ts';

/** The same problem is told again after this, ms. */
const quietTime = 600_000;
/** How often metrics are sent where `OTEL_METRIC_EXPORT_INTERVAL` does not say, ms. */
const metricInterval = 60_000;
/** How long that may take, ms. */
const metricTimeout = 10_000;

/** The OpenTelemetry SDK with Holdline's spans and metrics. Loaded only where it is switched on: it takes a third of a second. */
export class OpenTelemetry implements Telemetry {
  readonly signals: ('traces' | 'metrics')[] = [];
  readonly #subscriptions = new Subscriptions();
  readonly #sdk: NodeSDK;
  readonly #report: (problem: Error) => void;

  constructor(options: TelemetryOptions, env: NodeJS.ProcessEnv) {
    const { service, instance, version, system } = options;
    this.#report = options.report;
    const ids = new SpanIds();
    const reader = metricReader(options, env);
    const processor = takesLeanSpans(env) ? leanProcessor(env) : undefined;
    this.#sdk = new NodeSDK({
      // What the environment says of the resource goes before this.
      resource: resourceFromAttributes({
        'service.name': service,
        'service.instance.id': instance,
        'service.version': version,
      }),
      metricReaders: reader === undefined ? [] : [reader],
      idGenerator: ids,
      ...(processor !== undefined && { spanProcessors: [processor] }),
      contextManager: noContextManager,
    });
    // After the constructor, which would put its own in the place: standard output is for the log.
    diag.setLogger(quietLogger(options.report), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
    this.#sdk.start();
    if (reader !== undefined) this.signals.push('metrics');
    if (env['OTEL_TRACES_EXPORTER'] === 'none') return;
    this.signals.push('traces');
    const tracer = trace.getTracer('holdline', version);
    const byDefault = ['', 'parentbased_always_on'].includes(env['OTEL_TRACES_SAMPLER'] ?? '');
    const spans =
      processor === undefined ? new SdkSpans(tracer, ids) : new LeanSpans(tracer, ids, processor, byDefault);
    new CallerSpans(spans, system).subscribe(this.#subscriptions);
    new CalleeSpans(spans, system).subscribe(this.#subscriptions);
  }

  async stop(limitMs: number): Promise<void> {
    this.#subscriptions.end();
    const limit = Promise.withResolvers<void>();
    const timer = setTimeout(limit.resolve, limitMs);
    const ended = this.#sdk.shutdown().catch((error: unknown) => {
      this.#report(new Error(`what was left of traces and metrics was not sent: ${String(error)}`, { cause: error }));
    });
    await Promise.race([ended, limit.promise]);
    clearTimeout(timer);
  }
}

/** Variables that ask for what only the spans of the SDK do. */
const special = /^OTEL_(?:(?:SPAN_|EVENT_|LINK_)?(?:ATTRIBUTE|EVENT|LINK)_.*LIMIT|NODE_EXPERIMENTAL_SDK_METRICS)$/;

/** Whether spans go where {@link LeanSpans} can: by OTLP over HTTP as protobuf, which is the default, and without limits. */
function takesLeanSpans(env: NodeJS.ProcessEnv): boolean {
  const exporter = env['OTEL_TRACES_EXPORTER'] || 'otlp';
  const protocol = env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] || env['OTEL_EXPORTER_OTLP_PROTOCOL'] || 'http/protobuf';
  const asks = Object.keys(env).some((name) => special.test(name) && env[name] !== '');
  return exporter === 'otlp' && protocol === 'http/protobuf' && !asks;
}

/** As the SDK would make it of the same variables. */
function leanProcessor(env: NodeJS.ProcessEnv): BatchSpanProcessor {
  const number = (name: string) => positive(env[`OTEL_BSP_${name}`]);
  const options = {
    maxQueueSize: number('MAX_QUEUE_SIZE'),
    scheduledDelayMillis: number('SCHEDULE_DELAY'),
    exportTimeoutMillis: number('EXPORT_TIMEOUT'),
    maxExportBatchSize: number('MAX_EXPORT_BATCH_SIZE'),
  };
  const given = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return new BatchSpanProcessor({ exporter: leanExporter(), ...given });
}

/** Undefined where metrics are not to be sent. */
function metricReader(
  { registry, report }: TelemetryOptions,
  env: NodeJS.ProcessEnv,
): PeriodicExportingMetricReader | undefined {
  const wanted = env['OTEL_METRICS_EXPORTER'] || 'otlp';
  if (wanted === 'none') return undefined;
  if (wanted !== 'otlp') {
    report(
      new Error(`OTEL_METRICS_EXPORTER: Holdline sends metrics by otlp or none, not ${wanted}; /metrics has them`),
    );
    return undefined;
  }
  const protocol = env['OTEL_EXPORTER_OTLP_METRICS_PROTOCOL'] || env['OTEL_EXPORTER_OTLP_PROTOCOL'];
  const exporter = protocol === 'http/json' ? new JsonMetricExporter() : new ProtobufMetricExporter();
  const exportIntervalMillis = positive(env['OTEL_METRIC_EXPORT_INTERVAL']) ?? metricInterval;
  const exportTimeoutMillis = Math.min(
    positive(env['OTEL_METRIC_EXPORT_TIMEOUT']) ?? metricTimeout,
    exportIntervalMillis,
  );
  return new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis,
    exportTimeoutMillis,
    metricProducers: [new RegistryProducer(registry)],
  });
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return value > 0 ? value : undefined;
}

/** A collector that is away fails every few seconds in the same words: they are told once in a while. */
function quietLogger(report: (problem: Error) => void) {
  const told = new Map<string, number>();
  const tell = (message: string, ...more: unknown[]) => {
    const text = readable([message, ...more].map(String).join(' '));
    const now = performance.now();
    // The same words with other numbers in them are the same problem.
    const problem = text.replaceAll(/\d+/g, '#');
    if (now - (told.get(problem) ?? Number.NEGATIVE_INFINITY) < quietTime) return;
    if (told.size >= 100) told.clear();
    told.set(problem, now);
    report(new Error(`traces and metrics: ${text}`));
  };
  return { error: tell, warn: tell, info: nothing, debug: nothing, verbose: nothing };
}

function nothing(): void {}

/** The SDK tells its errors as JSON of all their properties, stacks included. */
function readable(text: string): string {
  try {
    const { name, message, code } = JSON.parse(text) as Record<string, unknown>;
    return [name, message, code].filter((part) => part !== undefined && part !== '').join(' ') || text;
  } catch {
    return text.slice(0, 500);
  }
}

/** Spans get their parents by hand, so nothing has to be carried through every callback of the process. */
const noContextManager: ContextManager = {
  active: () => ROOT_CONTEXT,
  with: (_context, call, self, ...args) => call.call(self as never, ...args),
  bind: (_context, target) => target,
  enable: () => noContextManager,
  disable: () => noContextManager,
};
