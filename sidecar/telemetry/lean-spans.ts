import {
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  TraceFlags,
  type HrTime,
  type Link,
  type SpanContext,
  type SpanKind,
  type SpanStatus,
  type Tracer,
  type TraceState,
} from '@opentelemetry/api';
import type { ReadableSpan, SpanProcessor, TimedEvent } from '@opentelemetry/sdk-trace';
import type { TraceContext } from '../model/call.ts';
import { recordOf } from './sdk-spans.ts';
import { traceContextOf } from './span-context.ts';
import type { SpanIds } from './span-ids.ts';
import type { Attributes, CallSpan, Spans, SpanStart } from './spans.ts';

/** What all spans of a process have in common. */
type Origin = Pick<ReadableSpan, 'resource' | 'instrumentationScope'>;

/**
 * Spans that cost less than half of those of the SDK: no attribute is copied or checked again, no context is built, and the sampler is
 * asked once for each half of a trace, as what is below a span made here is sampled as that is. They go to the processor of the SDK.
 */
export class LeanSpans implements Spans {
  readonly #tracer: Tracer;
  readonly #ids: SpanIds;
  readonly #processor: SpanProcessor;
  readonly #byDefault: boolean;
  #origin: Origin | undefined;

  /**
   * @param tracer decides on sampling, and knows the resource
   * @param processor gets the spans that have ended
   * @param byDefault the sampler is that of OpenTelemetry's default (as the parent, and all that have none), so that nobody has to be asked
   */
  constructor(tracer: Tracer, ids: SpanIds, processor: SpanProcessor, byDefault: boolean) {
    this.#tracer = tracer;
    this.#ids = ids;
    this.#processor = processor;
    this.#byDefault = byDefault;
  }

  start(from: SpanStart): CallSpan {
    const { parent, id } = from;
    const origin = this.#origin;
    if (parent instanceof LeanSpan) {
      return new LeanSpan(from, parent, id ?? this.#ids.generateSpanId(), parent, origin, this.#processor);
    }
    const above = parent as SpanContext | undefined;
    if (!this.#byDefault || origin === undefined) return this.#decided(from, above);
    const around = above ?? { traceId: this.#ids.generateTraceId(), traceFlags: TraceFlags.SAMPLED };
    return new LeanSpan(from, around, this.#ids.generateSpanId(), above, origin, this.#processor);
  }

  /** The SDK decides, by a span of its own that never ends, so that nobody gets it. */
  #decided(from: SpanStart, above: SpanContext | undefined): LeanSpan {
    const context = above === undefined ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, above);
    const asked = this.#tracer.startSpan(from.name, { kind: from.kind }, context);
    if (asked.isRecording()) {
      const { resource, instrumentationScope } = asked as unknown as ReadableSpan;
      this.#origin ??= { resource, instrumentationScope };
    }
    const decided = asked.spanContext();
    return new LeanSpan(from, decided, decided.spanId, above, this.#origin, this.#processor);
  }
}

const unset: SpanStatus = { code: SpanStatusCode.UNSET };
const failed: SpanStatus = { code: SpanStatusCode.ERROR };
const noEvents: TimedEvent[] = [];
const noLinks: Link[] = [];

/** Is its own `SpanContext`, which saves an object. Without an origin it is not sampled. */
export class LeanSpan implements CallSpan, ReadableSpan, SpanContext {
  readonly name: string;
  readonly kind: SpanKind;
  readonly traceId: string;
  readonly spanId: string;
  readonly traceFlags: number;
  readonly traceState?: TraceState;
  readonly parentSpanContext?: SpanContext;
  /** ms since the epoch. */
  readonly startedAt: number;
  endedAt = 0;
  readonly pairs: Attributes;
  status: SpanStatus = unset;
  events: TimedEvent[] = noEvents;
  links: Link[] = noLinks;
  ended = false;
  readonly #origin: Origin | undefined;
  readonly #processor: SpanProcessor;

  constructor(
    { name, kind, at, attributes }: SpanStart,
    within: Pick<SpanContext, 'traceId' | 'traceFlags' | 'traceState'>,
    spanId: string,
    parent: SpanContext | undefined,
    origin: Origin | undefined,
    processor: SpanProcessor,
  ) {
    this.name = name;
    this.kind = kind;
    this.traceId = within.traceId;
    this.spanId = spanId;
    this.traceFlags = within.traceFlags & TraceFlags.SAMPLED;
    if (within.traceState !== undefined) this.traceState = within.traceState;
    if (parent !== undefined) this.parentSpanContext = parent;
    this.startedAt = at;
    this.pairs = attributes;
    this.#origin = origin;
    this.#processor = processor;
  }

  spanContext(): SpanContext {
    return this;
  }

  traceContext(): TraceContext {
    return traceContextOf(this);
  }

  set(name: string, value: string | number | boolean): this {
    const { pairs } = this;
    if (this.ended) return this;
    for (let at = 0; at < pairs.length; at += 2) {
      if (pairs[at] === name) {
        pairs[at + 1] = value;
        return this;
      }
    }
    pairs.push(name, value);
    return this;
  }

  event(name: string, at: number, attributes: Attributes): void {
    if (this.ended) return;
    this.events = [...this.events, { name, time: hrTime(at), attributes: recordOf(attributes) }];
  }

  link(to: SpanContext, attributes: Attributes): void {
    if (this.ended) return;
    this.links = [...this.links, { context: to, attributes: recordOf(attributes) }];
  }

  fail(type?: string): this {
    if (this.ended) return this;
    this.status = failed;
    return type === undefined ? this : this.set('error.type', type);
  }

  end(at: number): void {
    if (this.ended) return;
    this.ended = true;
    this.endedAt = Math.max(at, this.startedAt);
    if ((this.traceFlags & TraceFlags.SAMPLED) !== 0) this.#processor.onEnd(this);
  }

  get resource() {
    return this.#origin!.resource;
  }
  get instrumentationScope() {
    return this.#origin!.instrumentationScope;
  }
  get startTime() {
    return hrTime(this.startedAt);
  }
  get endTime() {
    return hrTime(this.endedAt);
  }
  get duration() {
    return hrTime(this.endedAt - this.startedAt);
  }
  get attributes() {
    return recordOf(this.pairs);
  }
  get droppedAttributesCount() {
    return 0;
  }
  get droppedEventsCount() {
    return 0;
  }
  get droppedLinksCount() {
    return 0;
  }
}

function hrTime(ms: number): HrTime {
  return [Math.trunc(ms / 1000), Math.round((ms % 1000) * 1e6)];
}
