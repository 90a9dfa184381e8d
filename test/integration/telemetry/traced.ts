import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { startNatsServer, type NatsServer } from '../../support/nats-server.ts';
import { type CollectorManner, OtlpReceiver, type ReceivedSpan } from '../../support/otlp-receiver.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { startUpstream, type Answer, type Handler, type Upstream } from '../../support/upstream.ts';

/** Two real sidecars that send what they see to a collector, with a broker and a callee. */
export interface Traced extends AsyncDisposable {
  readonly collector: OtlpReceiver;
  readonly server: NatsServer;
  readonly upstream: Upstream;
  readonly orders: SidecarProcess;
  readonly payments: SidecarProcess;
  /** The listener that stands for `payments`. */
  readonly url: string;
  /** Resolves with the spans of a trace when `count` have arrived. */
  trace(traceId: string, count: number): Promise<Trace>;
}

export interface TracedOptions {
  /** Added to the one route. */
  readonly route?: object;
  readonly collector?: CollectorManner;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startTraced(answer: Answer | Handler, options: TracedOptions = {}): Promise<Traced> {
  const stack = new AsyncDisposableStack();
  try {
    const collector = stack.use(await OtlpReceiver.start(options.collector));
    const server = stack.use(await startNatsServer());
    const upstream = stack.use(await startUpstream(answer));
    const port = `127.0.0.1:${await freePort()}`;
    const common = { broker: server.url, telemetry: { otlp: collector.url } };
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
      collector,
      server,
      upstream,
      orders,
      payments,
      url: `http://${port}`,
      trace: (traceId, count) => arrived(collector, traceId, count),
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
