import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { claim, release } from './leaks.ts';
import { decodeMessage, type Message, type MessageFields } from './protobuf.ts';

/** A span as it arrived. Times are ms since the epoch. */
export interface ReceivedSpan {
  /** `service.name` of its resource. */
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Undefined for a root. */
  readonly parentId: string | undefined;
  readonly traceState: string;
  readonly name: string;
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer';
  readonly start: number;
  readonly end: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly events: readonly string[];
  readonly links: readonly { readonly traceId: string; readonly spanId: string; readonly why: unknown }[];
  readonly failed: boolean;
}

/** A point of a metric as it arrived; of a histogram the count, sum and buckets. */
export interface ReceivedPoint {
  readonly name: string;
  readonly service: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly value?: number;
  readonly count?: number;
  readonly sum?: number;
  readonly buckets?: readonly number[];
}

/** `never`: takes connections and requests and says nothing, as a collector that hangs. `refusing`: answers 400. */
export type CollectorManner = 'at once' | 'never' | 'refusing';

/** A collector: takes OTLP/HTTP as protobuf, which is what comes by default, and decodes it. */
export class OtlpReceiver implements AsyncDisposable {
  readonly spans: ReceivedSpan[] = [];
  readonly points: ReceivedPoint[] = [];
  /** What came and could not be read. */
  readonly failures: Error[] = [];
  /** Requests so far. */
  requests = 0;
  readonly #server: Server;

  private constructor(answers: CollectorManner) {
    this.#server = createServer((request, response) => {
      this.requests++;
      if (answers === 'never') return;
      if (answers === 'refusing') {
        request.resume();
        response.writeHead(400).end();
        return;
      }
      buffer(request).then(
        (body) => {
          const bytes = request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body;
          try {
            this.#take(request.url ?? '', request.headers['content-type'] ?? '', bytes);
          } catch (error) {
            this.failures.push(error as Error);
          }
          response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
        },
        (error: Error) => this.failures.push(error),
      );
    });
    claim(this.#server, { what: 'OTLP receiver', destroy: () => this.#close() });
  }

  static async start(answers: CollectorManner = 'at once'): Promise<OtlpReceiver> {
    const receiver = new OtlpReceiver(answers);
    receiver.#server.listen(0, '127.0.0.1');
    await once(receiver.#server, 'listening');
    return receiver;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closed = once(this.#server, 'close');
    this.#close();
    await closed;
    release(this.#server);
  }

  #close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #take(path: string, type: string, body: Buffer): void {
    if (type !== 'application/x-protobuf') throw new Error(`${path} came as ${type}`);
    if (path === '/v1/traces') this.spans.push(...spansOf(decodeMessage(body, traceRequest)));
    else if (path === '/v1/metrics') this.points.push(...pointsOf(decodeMessage(body, metricsRequest)));
    else throw new Error(`nothing is taken at ${path}`);
  }
}

// The fields of opentelemetry-proto 1.x that are looked at: trace/v1, metrics/v1, common/v1, resource/v1.
const anyValue: MessageFields = {
  1: { name: 'value', as: 'string' },
  2: { name: 'value', as: 'bool' },
  3: { name: 'value', as: 'varint' },
  4: { name: 'value', as: 'double' },
};
const keyValue: MessageFields = { 1: { name: 'key', as: 'string' }, 2: { name: 'value', as: () => anyValue } };
const attributes = { name: 'attributes', as: () => keyValue, list: true } as const;
const resource: MessageFields = { 1: attributes };
const span: MessageFields = {
  1: { name: 'traceId', as: 'hex' },
  2: { name: 'spanId', as: 'hex' },
  3: { name: 'traceState', as: 'string' },
  4: { name: 'parentSpanId', as: 'hex' },
  5: { name: 'name', as: 'string' },
  6: { name: 'kind', as: 'varint' },
  7: { name: 'start', as: 'fixed64' },
  8: { name: 'end', as: 'fixed64' },
  9: attributes,
  11: { name: 'events', as: () => ({ 2: { name: 'name', as: 'string' } }), list: true },
  13: {
    name: 'links',
    as: () => ({ 1: { name: 'traceId', as: 'hex' }, 2: { name: 'spanId', as: 'hex' }, 4: attributes }),
    list: true,
  },
  15: { name: 'status', as: () => ({ 3: { name: 'code', as: 'varint' } }) },
};
const traceRequest: MessageFields = {
  1: {
    name: 'resources',
    as: () => ({
      1: { name: 'resource', as: () => resource },
      2: { name: 'scopes', as: () => ({ 2: { name: 'spans', as: () => span, list: true } }), list: true },
    }),
    list: true,
  },
};
const numberPoint: MessageFields = { 7: attributes, 4: { name: 'value', as: 'double' } };
const histogramPoint: MessageFields = {
  9: attributes,
  4: { name: 'count', as: 'fixed64' },
  5: { name: 'sum', as: 'double' },
  6: { name: 'buckets', as: 'fixed64', list: true },
};
const numbers: MessageFields = { 1: { name: 'points', as: () => numberPoint, list: true } };
const histogramData: MessageFields = { 1: { name: 'points', as: () => histogramPoint, list: true } };
const metric: MessageFields = {
  1: { name: 'name', as: 'string' },
  5: { name: 'data', as: () => numbers },
  7: { name: 'data', as: () => numbers },
  9: { name: 'data', as: () => histogramData },
};
const metricsRequest: MessageFields = {
  1: {
    name: 'resources',
    as: () => ({
      1: { name: 'resource', as: () => resource },
      2: { name: 'scopes', as: () => ({ 2: { name: 'metrics', as: () => metric, list: true } }), list: true },
    }),
    list: true,
  },
};

const kinds = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const;

function spansOf(message: Message): ReceivedSpan[] {
  return list(message['resources']).flatMap((each) => {
    const service = serviceOf(each);
    return list(each['scopes']).flatMap((scope) =>
      list(scope['spans']).map((raw) => {
        const status = raw['status'] as Message | undefined;
        return {
          service,
          traceId: String(raw['traceId']),
          spanId: String(raw['spanId']),
          parentId: (raw['parentSpanId'] as string | undefined) || undefined,
          traceState: (raw['traceState'] as string | undefined) ?? '',
          name: String(raw['name']),
          kind: kinds[Number(raw['kind'] ?? 0)] ?? 'internal',
          start: Number(raw['start']) / 1e6,
          end: Number(raw['end']) / 1e6,
          attributes: attributesOf(raw),
          events: list(raw['events']).map((event) => String(event['name'])),
          links: list(raw['links']).map((link) => ({
            traceId: String(link['traceId']),
            spanId: String(link['spanId']),
            why: attributesOf(link)['holdline.link'],
          })),
          failed: status?.['code'] === 2,
        };
      }),
    );
  });
}

function pointsOf(message: Message): ReceivedPoint[] {
  return list(message['resources']).flatMap((each) => {
    const service = serviceOf(each);
    return list(each['scopes']).flatMap((scope) =>
      list(scope['metrics']).flatMap((raw) =>
        list((raw['data'] as Message | undefined)?.['points']).map((point) => ({
          name: String(raw['name']),
          service,
          attributes: attributesOf(point),
          ...('count' in point && { count: Number(point['count']) }),
          ...('sum' in point && { sum: Number(point['sum']) }),
          ...('value' in point && { value: Number(point['value']) }),
          ...('buckets' in point && { buckets: (point['buckets'] as bigint[]).map(Number) }),
        })),
      ),
    );
  });
}

function serviceOf(each: Message): string {
  return String(attributesOf((each['resource'] as Message | undefined) ?? {})['service.name']);
}

function attributesOf(message: Message): Record<string, unknown> {
  return Object.fromEntries(
    list(message['attributes']).map(({ key, value }) => [String(key), (value as Message | undefined)?.['value']]),
  );
}

function list(value: unknown): Message[] {
  return (value ?? []) as Message[];
}
