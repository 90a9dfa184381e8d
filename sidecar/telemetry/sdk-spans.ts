import {
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
  type Context,
  type Span,
  type SpanContext,
  type Tracer,
} from '@opentelemetry/api';
import type { TraceContext } from '../model/call.ts';
import { traceContextOf } from './span-context.ts';
import type { SpanIds } from './span-ids.ts';
import type { Attributes, CallSpan, Spans, SpanStart } from './spans.ts';

/** Spans as the SDK makes them: for every exporter and limit that it has. */
export class SdkSpans implements Spans {
  readonly #tracer: Tracer;
  readonly #ids: SpanIds;

  /** @param ids where the SDK gets its ids from */
  constructor(tracer: Tracer, ids: SpanIds) {
    this.#tracer = tracer;
    this.#ids = ids;
  }

  start({ name, kind, at, parent, attributes, id }: SpanStart): CallSpan {
    if (id !== undefined) this.#ids.useNext(id);
    const options = { kind, startTime: at, attributes: recordOf(attributes) };
    return new SdkSpan(this.#tracer.startSpan(name, options, contextOf(parent)));
  }
}

class SdkSpan implements CallSpan {
  readonly span: Span;

  constructor(span: Span) {
    this.span = span;
  }

  traceContext(): TraceContext {
    return traceContextOf(this.span.spanContext());
  }

  set(name: string, value: string | number | boolean): this {
    this.span.setAttribute(name, value);
    return this;
  }

  event(name: string, at: number, attributes: Attributes): void {
    this.span.addEvent(name, recordOf(attributes), at);
  }

  link(to: SpanContext, attributes: Attributes): void {
    this.span.addLink({ context: to, attributes: recordOf(attributes) });
  }

  fail(type?: string): this {
    if (type !== undefined) this.span.setAttribute('error.type', type);
    this.span.setStatus({ code: SpanStatusCode.ERROR });
    return this;
  }

  end(at: number): void {
    if (this.span.isRecording()) this.span.end(at);
  }
}

function contextOf(parent: SpanStart['parent']): Context {
  if (parent === undefined) return ROOT_CONTEXT;
  if (parent instanceof SdkSpan) return trace.setSpan(ROOT_CONTEXT, parent.span);
  return trace.setSpanContext(ROOT_CONTEXT, parent as SpanContext);
}

/** As the SDK takes them. */
export function recordOf(attributes: Attributes): Record<string, string | number | boolean> {
  const record: Record<string, string | number | boolean> = {};
  for (let at = 0; at < attributes.length; at += 2) record[attributes[at] as string] = attributes[at + 1]!;
  return record;
}
