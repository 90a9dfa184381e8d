import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { startNatsServer, type NatsServer } from '../../support/nats-server.ts';
import { type CollectorManner, OtlpReceiver, type ReceivedSpan } from '../../support/otlp-receiver.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { startUpstream, type Answer, type Handler, type Upstream } from '../../support/upstream.ts';

/** Two real sidecars that send what they see somewhere, with a broker and a callee. */
export interface TracedPair extends AsyncDisposable {
  readonly server: NatsServer;
  readonly upstream: Upstream;
  readonly orders: SidecarProcess;
  readonly payments: SidecarProcess;
  /** The listener that stands for `payments`. */
  readonly url: string;
}

/** The same, with a collector that takes what they send. */
export interface Traced extends TracedPair {
  readonly collector: OtlpReceiver;
  /** Resolves with the spans of a trace when `count` have arrived. */
  trace(traceId: string, count: number): Promise<Trace>;
}

export interface PairOptions {
  /** Added to the one route. */
  readonly route?: object;
  readonly env?: Readonly<Record<string, string>>;
}

export interface TracedOptions extends PairOptions {
  readonly collector?: CollectorManner;
}

export async function startTraced(answer: Answer | Handler, options: TracedOptions = {}): Promise<Traced> {
  const collector = await OtlpReceiver.start(options.collector);
  try {
    const pair = await startTracedPair(collector.url, answer, options);
    return {
      ...pair,
      collector,
      trace: (traceId, count) => arrived(collector, traceId, count),
      async [Symbol.asyncDispose]() {
        await pair[Symbol.asyncDispose]();
        await collector[Symbol.asyncDispose]();
      },
    };
  } catch (error) {
    await collector[Symbol.asyncDispose]();
    throw error;
  }
}

/** @param otlp base URL of what takes OTLP/HTTP */
export async function startTracedPair(
  otlp: string,
  answer: Answer | Handler,
  options: PairOptions = {},
): Promise<TracedPair> {
  const stack = new AsyncDisposableStack();
  try {
    const server = stack.use(await startNatsServer());
    const upstream = stack.use(await startUpstream(answer));
    const port = `127.0.0.1:${await freePort()}`;
    const common = { broker: server.url, telemetry: { otlp } };
    const env = { OTEL_BSP_SCHEDULE_DELAY: '20', OTEL_METRIC_EXPORT_INTERVAL: '100', ...options.env };
    const routes = [{ name: 'charge', match: { host: 'payments' }, ...options.route }];
    const orders = stack.use(
      await startSidecar(
        { ...common, service: 'orders', outbound: { ports: { [port]: 'payments' }, routes } },
        { env },
      ),
    );
    const inbound = [{ url: upstream.url }];
    const payments = stack.use(await startSidecar({ ...common, service: 'payments', inbound }, { env }));
    const owned = stack.move();
    return {
      server,
      upstream,
      orders,
      payments,
      url: `http://${port}`,
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

async function arrived(collector: OtlpReceiver, traceId: string, count: number): Promise<Trace> {
  return await eventually(
    () => {
      const [failure] = collector.failures;
      if (failure !== undefined) throw failure;
      const spans = collector.spans.filter((span) => span.traceId === traceId);
      const names = spans.map(({ name }) => name).join(', ');
      if (spans.length < count) throw new Error(`${spans.length} of ${collector.spans.length} spans: ${names}`);
      return new Trace(spans);
    },
    { what: `${count} spans of trace ${traceId}` },
  );
}

/** One call that is answered at once: what both sidecars make of it, parent to child. */
export const wholeTree = [
  'orders: server POST charge',
  '  orders: producer publish payments',
  '    payments: internal wait',
  '    payments: consumer process payments',
  '      payments: client POST',
  '      payments: producer respond orders',
  '  orders: internal hold',
];

/** The spans of one trace. */
export class Trace {
  readonly spans: readonly ReceivedSpan[];

  constructor(spans: readonly ReceivedSpan[]) {
    this.spans = spans;
  }

  /** The one span of this name. @throws Error where there is none, or more than one */
  one(name: string): ReceivedSpan {
    const found = this.all(name);
    if (found.length !== 1) throw new Error(`${found.length} spans ${name}; there are:\n${this.tree()}`);
    return found[0]!;
  }

  /** All spans of this name, oldest first. */
  all(name: string): ReceivedSpan[] {
    return this.spans.filter((span) => span.name === name).toSorted((a, b) => a.start - b.start);
  }

  /** Every span below its parent, oldest first: `service: name`, indented. Spans whose parent is not there come first. */
  tree(): string {
    const ids = new Set(this.spans.map(({ spanId }) => spanId));
    const below = (parent: string | undefined, depth: number): string[] =>
      this.spans
        .filter(({ parentId }) => (parentId !== undefined && ids.has(parentId) ? parentId : undefined) === parent)
        .toSorted((a, b) => a.start - b.start || (a.name < b.name ? -1 : 1))
        .flatMap((span) => [
          `${'  '.repeat(depth)}${span.service}: ${span.kind} ${span.name}`,
          ...below(span.spanId, depth + 1),
        ]);
    return below(undefined, 0).join('\n');
  }
}
