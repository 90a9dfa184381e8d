import { type SpanContext, SpanKind } from '@opentelemetry/api';
import { ProtobufTraceSerializer } from '@opentelemetry/otlp-transformer';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { NoopSpanProcessor, type ReadableSpan, TracerProvider } from '@opentelemetry/sdk-trace';
import fc from 'fast-check';
import { beforeEach, expect, test } from 'vitest';
import { type LeanSpan, LeanSpans } from '../../../sidecar/telemetry/lean-spans.ts';
import { encodeTraces } from '../../../sidecar/telemetry/otlp-encoder.ts';
import { spanContextOf } from '../../../sidecar/telemetry/span-context.ts';
import { SpanIds } from '../../../sidecar/telemetry/span-ids.ts';
import type { Attributes, SpanStart } from '../../../sidecar/telemetry/spans.ts';

/** What has ended. */
class Kept extends NoopSpanProcessor {
  readonly spans: LeanSpan[] = [];
  override onEnd(span: ReadableSpan): void {
    this.spans.push(span as LeanSpan);
  }
}

let kept: Kept;
let spans: LeanSpans;
beforeEach(() => {
  kept = new Kept();
  const resource = resourceFromAttributes({
    'service.name': 'orders',
    'process.command_args': ['node', 'main.ts', ''],
  });
  const ids = new SpanIds();
  const provider = new TracerProvider({ resource, idGenerator: ids, spanProcessors: [kept] });
  spans = new LeanSpans(provider.getTracer('holdline', '1.2.3'), ids, kept, true);
});

/** As the exporter of OpenTelemetry writes them. */
function theirs(all: readonly LeanSpan[]): Buffer {
  return Buffer.from(ProtobufTraceSerializer.serializeRequest([...all]) ?? []);
}

const digits = (length: number) =>
  fc.string({
    unit: fc.integer({ min: 0, max: 15 }).map((digit) => digit.toString(16)),
    minLength: length,
    maxLength: length,
  });
const context: fc.Arbitrary<SpanContext> = fc
  .record({ trace: digits(32), span: digits(16), flags: fc.constantFrom('01', '03'), state: fc.option(fc.nat()) })
  .map(({ trace, span, flags, state }) =>
    spanContextOf({
      traceparent: `00-${trace.replace(/^0/, '1')}-${span.replace(/^0/, '1')}-${flags}`,
      ...(state !== null && { tracestate: `vendor=${state}` }),
    }),
  );
const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'grapheme', maxLength: 60 }),
  fc.nat(20_000).map((length) => 'x'.repeat(length)),
);
const name = text.filter((each) => each !== '' && each !== '__proto__');
const value = fc.oneof(text, fc.boolean(), fc.maxSafeInteger(), fc.double(), fc.constantFrom(0, -1, 2 ** 31, 2 ** 32));
const attributes: fc.Arbitrary<Attributes> = fc
  .uniqueArray(fc.tuple(name, value), { selector: ([key]) => key, maxLength: 6 })
  // An object, which the exporter of OpenTelemetry reads, has names like these in another order.
  .map((pairs) => pairs.filter(([key]) => !/^\d+$/.test(key)).flat());
const time = fc.double({ min: 0, max: 4e12, noNaN: true });
const made = fc.record({
  name: text,
  kind: fc.constantFrom(SpanKind.INTERNAL, SpanKind.SERVER, SpanKind.CLIENT, SpanKind.PRODUCER, SpanKind.CONSUMER),
  at: time,
  ends: time,
  parent: fc.option(context, { nil: undefined }),
  attributes,
  events: fc.array(fc.tuple(text, time, attributes), { maxLength: 2 }),
  links: fc.array(fc.tuple(context, attributes), { maxLength: 2 }),
  failed: fc.boolean(),
});

test('spans are the same bytes as the exporter of OpenTelemetry makes of them', () => {
  fc.assert(
    fc.property(fc.array(made, { minLength: 1, maxLength: 4 }), (all) => {
      kept.spans.length = 0;
      for (const { events, links, failed, ends, ...from } of all) {
        const span = spans.start({ ...from, attributes: [...from.attributes] });
        const child = spans.start({ ...from, attributes: [], parent: span });
        for (const event of events) span.event(...event);
        for (const link of links) span.link(...link);
        if (failed) span.fail();
        child.end(ends);
        span.end(ends);
      }
      expect(Buffer.from(encodeTraces(kept.spans)).equals(theirs(kept.spans))).toBe(true);
    }),
  );
});

test('a request of many spans grows beyond what was reckoned with', () => {
  const from: SpanStart = { name: 'n'.repeat(5000), kind: SpanKind.INTERNAL, at: 1, parent: undefined, attributes: [] };
  for (let at = 0; at < 2000; at++) spans.start({ ...from, attributes: ['n', at] }).end(2);
  expect(Buffer.from(encodeTraces(kept.spans)).equals(theirs(kept.spans))).toBe(true);
});

test('after its end nothing changes a span any more, and an attribute has one value', () => {
  const from = { name: 'a', kind: SpanKind.INTERNAL, at: 5, parent: undefined };
  const span = spans.start({ ...from, attributes: ['status', 1] });
  span.set('status', 2).end(4);
  span.set('status', 3).fail('late').end(9);
  span.event('late', 9, []);
  span.link(spanContextOf({ traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01` }), []);
  expect(kept.spans).toHaveLength(1);
  expect(kept.spans[0]).toMatchObject({
    attributes: { status: 2 },
    events: [],
    links: [],
    status: { code: 0 },
    startTime: [0, 5e6],
    // Never before its beginning.
    endTime: [0, 5e6],
  });
});
