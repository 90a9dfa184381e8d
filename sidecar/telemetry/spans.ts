import type { SpanContext, SpanKind } from '@opentelemetry/api';
import type { TraceContext } from '../model/call.ts';

/** Names and values in turn: a list costs less to make than an object, and is written as it stands. */
export type Attributes = (string | number | boolean)[];

/** A span that is under way. After its end nothing changes it any more. */
export interface CallSpan {
  /** What goes into headers (W3C Trace Context) for whoever continues the trace below this span. */
  traceContext(): TraceContext;
  /** An attribute; one that is there gets the new value. */
  set(name: string, value: string | number | boolean): this;
  /** Something that happened within it. @param at ms since the epoch, as all times of spans */
  event(name: string, at: number, attributes: Attributes): void;
  /** Joins it to a span of another trace. */
  link(to: SpanContext, attributes: Attributes): void;
  /** It failed. @param type the attribute `error.type`; without one the span only has the status */
  fail(type?: string): this;
  end(at: number): void;
}

/** What a span is made from. */
export interface SpanStart {
  readonly name: string;
  readonly kind: SpanKind;
  /** ms since the epoch, in fractions. */
  readonly at: number;
  /** A span made by the same {@link Spans}, or what a header said of one elsewhere; undefined begins a trace. */
  readonly parent: CallSpan | SpanContext | undefined;
  /** Belongs to the span from now on. */
  readonly attributes: Attributes;
  /** The id of the span, where that must not be random: only below a span made here. */
  readonly id?: string;
}

/** Makes the spans of calls. */
export interface Spans {
  start(from: SpanStart): CallSpan;
}
