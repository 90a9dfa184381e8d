import {
  ROOT_CONTEXT,
  SpanKind,
  SpanStatusCode,
  trace,
  type Context,
  type Span,
  type Tracer,
} from '@opentelemetry/api';
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
import { below, traceContextOf } from './span-context.ts';
import type { SpanIds } from './span-ids.ts';
import type { Subscriptions } from './subscriptions.ts';

/** The spans of one delivery, while it is under way. */
interface Delivery {
  readonly process: Span;
  readonly within: Context;
  readonly startedAt: number;
  attempt: { readonly span: Span; readonly number: number } | undefined;
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
  readonly #tracer: Tracer;
  readonly #ids: SpanIds;
  readonly #system: string;
  readonly #deliveries = new WeakMap<object, Delivery>();

  /** @param system what stores the events, such as `nats` */
  constructor(tracer: Tracer, ids: SpanIds, system: string) {
    this.#tracer = tracer;
    this.#ids = ids;
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
        at.process.addEvent('not sent', { 'holdline.detail': attempt.detail ?? '' });
      } else {
        this.#standIn(at, call, attempt);
      }
    });
    to.on(callFinished, ({ delivery, call, outcome, status, attempts, storingMs = 0 }) => {
      const at = this.#of(delivery);
      if (at === undefined) return;
      const { process, within } = at;
      const now = spanTime();
      const attributes = messagingAttributes(this.#system, { name: 'respond', type: 'send' }, call.caller, call.id);
      const options = { kind: SpanKind.PRODUCER, attributes, startTime: now - storingMs };
      this.#tracer.startSpan(`respond ${call.caller}`, options, within).end(now);
      process.setAttribute('holdline.outcome', outcome).setAttribute('holdline.attempts', attempts);
      if (status !== undefined) process.setAttribute('http.response.status_code', status);
      if (isDeadLetter(outcome)) process.setAttribute('error.type', outcome).setStatus({ code: SpanStatusCode.ERROR });
    });
    to.on(deliveryEnded, ({ delivery }) => {
      const at = this.#of(delivery);
      // Only a defect leaves an attempt open here; its span must not be lost with it.
      at?.attempt?.span.setStatus({ code: SpanStatusCode.ERROR }).end(spanTime());
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
    const parent = below(context);
    const process = this.#tracer.startSpan(
      `process ${service}`,
      {
        kind: SpanKind.CONSUMER,
        startTime: startedAt,
        attributes: {
          ...messagingAttributes(this.#system, { name: 'process', type: 'process' }, service, id),
          'messaging.message.body.size': bodyBytes,
          'holdline.call.caller': caller,
          'holdline.call.route': route,
          ...(round > 1 && { 'holdline.call.round': round }),
        },
      },
      parent,
    );
    const within = trace.setSpan(ROOT_CONTEXT, process);
    this.#deliveries.set(delivery, { process, within, startedAt, attempt: undefined });
    const since = waitingSince(call, progress);
    const startTime = Math.min(since, startedAt);
    this.#tracer.startSpan('wait', { startTime }, context === undefined ? within : parent).end(startedAt);
  }

  #attempt(starting: AttemptStarting): void {
    const at = this.#of(starting.delivery);
    if (at === undefined) return;
    const { call, attempt, to } = starting;
    this.#ids.useForAttempt(call.id, attempt);
    const span = this.#tracer.startSpan(
      methodName(call.method),
      {
        kind: SpanKind.CLIENT,
        startTime: spanTime(),
        attributes: { ...attemptAttributes(call, attempt), ...addressed(to, call.target) },
      },
      at.within,
    );
    at.attempt = { span, number: attempt };
    starting.trace = traceContextOf(span.spanContext());
  }

  /** The attempt of a sidecar that died; see {@link SpanIds}. Nobody knows when it ended: before this delivery. */
  #standIn({ within, startedAt }: Delivery, call: CallFacts, record: AttemptRecord): void {
    this.#ids.useForAttempt(call.id, record.attempt);
    const span = this.#tracer.startSpan(
      methodName(call.method),
      {
        kind: SpanKind.CLIENT,
        startTime: Math.min(record.at ?? startedAt, startedAt),
        attributes: attemptAttributes(call, record.attempt),
      },
      within,
    );
    endAttempt(span, record, startedAt);
  }
}

/** Since when a delivered call has been waiting, ms since the epoch. */
function waitingSince({ acceptedAt }: CallFacts, { attempts, started }: Progress): number {
  const last = attempts.at(-1);
  return Math.max(acceptedAt, (last?.at ?? 0) + (last?.ms ?? 0), started?.at ?? 0);
}

function attemptAttributes(call: CallFacts, attempt: number) {
  return {
    ...methodAttributes(call.method),
    'holdline.call.id': call.id,
    'holdline.attempt': attempt,
    ...(attempt > 1 && { 'http.request.resend_count': attempt - 1 }),
  };
}

function addressed({ host, port, secure, prefix }: AttemptStarting['to'], target: string) {
  const authority = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  const path = target === '*' ? '' : prefix + pathOf(target);
  return {
    'server.address': host,
    'server.port': port,
    'url.full': `${secure ? 'https' : 'http'}://${authority}${path}`,
  };
}

function endAttempt(span: Span, { evidence, status, detail, instance }: AttemptRecord, endedAt: number): void {
  span.setAttribute('holdline.evidence', evidence);
  if (evidence === 'sidecar-died') span.setAttribute('holdline.instance', instance);
  if (status !== undefined) span.setAttribute('http.response.status_code', status);
  if (detail !== undefined) span.setAttribute('holdline.detail', detail);
  const failed = evidence !== 'answered' && evidence !== 'retry-status';
  if (failed || (status ?? 0) >= 400) {
    span.setAttribute('error.type', failed ? evidence : String(status)).setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end(endedAt);
}
