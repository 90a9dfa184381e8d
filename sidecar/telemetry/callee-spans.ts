import { SpanKind } from '@opentelemetry/api';
import { isDeadLetter, type AttemptRecord, type CallFacts, type Progress, type TraceContext } from '../model/call.ts';
import {
  attemptEnded,
  attemptStarting,
  type AttemptStarting,
  callFinished,
  deliveryEnded,
  deliveryStarted,
} from './channels.ts';
import { messagingAttributes, methodAttributes, methodName, pathOf } from './conventions.ts';
import { spanTime } from './span-clock.ts';
import { spanContextOf } from './span-context.ts';
import { attemptSpanId } from './span-ids.ts';
import type { Attributes, CallSpan, Spans } from './spans.ts';
import type { Subscriptions } from './subscriptions.ts';

/** The spans of one delivery, while it is under way. */
interface Delivery {
  readonly process: CallSpan;
  readonly startedAt: number;
  attempt: { readonly span: CallSpan; readonly number: number } | undefined;
}

/**
 * The callee's half of a trace, below the context that the event carries:
 *
 * ```
 * publish (the caller's half)
 * ├─ wait: in the broker, until this delivery or between two attempts
 * └─ process: one delivery
 *    ├─ attempt: the request to the service, which gets this context
 *    └─ respond: the response event is stored
 * ```
 */
export class CalleeSpans {
  readonly #spans: Spans;
  readonly #system: string;
  readonly #deliveries = new WeakMap<object, Delivery>();

  /** @param system what stores the events, such as `nats` */
  constructor(spans: Spans, system: string) {
    this.#spans = spans;
    this.#system = system;
  }

  subscribe(to: Subscriptions): void {
    to.on(deliveryStarted, ({ delivery, call, progress, bodyBytes, trace: context }) =>
      this.#begin(delivery, call, progress, bodyBytes, context),
    );
    to.on(attemptStarting, (starting) => this.#attempt(starting));
    to.on(attemptEnded, ({ delivery, call, attempt }) => {
      const at = this.#of(delivery);
      if (at === undefined) return;
      if (at.attempt?.number === attempt.attempt) {
        endAttempt(at.attempt.span, attempt, spanTime());
        at.attempt = undefined;
      } else if (attempt.evidence === 'not-sent') {
        at.process.event('not sent', spanTime(), ['holdline.detail', attempt.detail ?? '']);
      } else {
        this.#standIn(at, call, attempt);
      }
    });
    to.on(callFinished, ({ delivery, call, outcome, status, attempts, storingMs = 0 }) => {
      const at = this.#of(delivery);
      if (at === undefined) return;
      const { process } = at;
      const now = spanTime();
      const attributes = messagingAttributes(this.#system, { name: 'respond', type: 'send' }, call.caller, call.id);
      const name = `respond ${call.caller}`;
      this.#spans.start({ name, kind: SpanKind.PRODUCER, at: now - storingMs, parent: process, attributes }).end(now);
      process.set('holdline.outcome', outcome).set('holdline.attempts', attempts);
      if (status !== undefined) process.set('http.response.status_code', status);
      if (isDeadLetter(outcome)) process.fail(outcome);
    });
    to.on(deliveryEnded, ({ delivery }) => {
      const at = this.#of(delivery);
      // Only a defect leaves an attempt open here; its span must not be lost with it.
      at?.attempt?.span.fail().end(spanTime());
      at?.process.end(spanTime());
    });
  }

  #of(delivery: object | undefined): Delivery | undefined {
    return delivery === undefined ? undefined : this.#deliveries.get(delivery);
  }

  #begin(
    delivery: object,
    call: CallFacts,
    progress: Progress,
    bodyBytes: number,
    context: TraceContext | undefined,
  ): void {
    const { service, id, round, caller, route } = call;
    const startedAt = spanTime();
    const parent = context && spanContextOf(context);
    const attributes = messagingAttributes(this.#system, { name: 'process', type: 'process' }, service, id);
    attributes.push('messaging.message.body.size', bodyBytes);
    attributes.push('holdline.call.caller', caller, 'holdline.call.route', route);
    if (round > 1) attributes.push('holdline.call.round', round);
    const name = `process ${service}`;
    const process = this.#spans.start({ name, kind: SpanKind.CONSUMER, at: startedAt, parent, attributes });
    this.#deliveries.set(delivery, { process, startedAt, attempt: undefined });
    const since = Math.min(waitingSince(call, progress), startedAt);
    this.#spans
      .start({ name: 'wait', kind: SpanKind.INTERNAL, at: since, parent: parent ?? process, attributes: [] })
      .end(startedAt);
  }

  #attempt(starting: AttemptStarting): void {
    const at = this.#of(starting.delivery);
    if (at === undefined) return;
    const { call, attempt, to } = starting;
    const attributes = attemptAttributes(call, attempt);
    address(attributes, to, call.target);
    const span = this.#attemptSpan(at, call, attempt, spanTime(), attributes);
    at.attempt = { span, number: attempt };
    starting.trace = span.traceContext();
  }

  /** The attempt of a sidecar that died; see {@link attemptSpanId}. Nobody knows when it ended: before this delivery. */
  #standIn(at: Delivery, call: CallFacts, record: AttemptRecord): void {
    const begun = Math.min(record.at ?? at.startedAt, at.startedAt);
    const span = this.#attemptSpan(at, call, record.attempt, begun, attemptAttributes(call, record.attempt));
    endAttempt(span, record, at.startedAt);
  }

  #attemptSpan({ process }: Delivery, call: CallFacts, attempt: number, at: number, attributes: Attributes): CallSpan {
    const id = attemptSpanId(call.id, attempt);
    const name = methodName(call.method);
    return this.#spans.start({ name, kind: SpanKind.CLIENT, at, parent: process, attributes, id });
  }
}

/** Since when a delivered call has been waiting, ms since the epoch. */
function waitingSince({ acceptedAt }: CallFacts, { attempts, started }: Progress): number {
  const last = attempts.at(-1);
  return Math.max(acceptedAt, (last?.at ?? 0) + (last?.ms ?? 0), started?.at ?? 0);
}

function attemptAttributes(call: CallFacts, attempt: number): Attributes {
  const attributes = methodAttributes(call.method);
  attributes.push('holdline.call.id', call.id, 'holdline.attempt', attempt);
  if (attempt > 1) attributes.push('http.request.resend_count', attempt - 1);
  return attributes;
}

function address(attributes: Attributes, { host, port, secure, prefix }: AttemptStarting['to'], target: string): void {
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const path = target === '*' ? '' : prefix + pathOf(target);
  attributes.push('server.address', host, 'server.port', port);
  attributes.push('url.full', `${secure ? 'https' : 'http'}://${authority}${path}`);
}

function endAttempt(span: CallSpan, { evidence, status, detail, instance }: AttemptRecord, endedAt: number): void {
  span.set('holdline.evidence', evidence);
  if (evidence === 'sidecar-died') span.set('holdline.instance', instance);
  if (status !== undefined) span.set('http.response.status_code', status);
  if (detail !== undefined) span.set('holdline.detail', detail);
  const failed = evidence !== 'answered' && evidence !== 'retry-status';
  if (failed || (status ?? 0) >= 400) span.fail(failed ? evidence : String(status));
  span.end(endedAt);
}
