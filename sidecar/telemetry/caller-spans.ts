import { SpanKind } from '@opentelemetry/api';
import type { TraceContext } from '../model/call.ts';
import { callAccepted, callAnswered, callerGone, callStarting, type CallStarting } from './channels.ts';
import { messagingAttributes, methodAttributes, methodName, pathOf } from './conventions.ts';
import { spanTime, spanTimeOf } from './span-clock.ts';
import { spanContextOf } from './span-context.ts';
import type { CallSpan, Spans } from './spans.ts';
import type { Subscriptions } from './subscriptions.ts';

/** What the spans of one caller's request are, while it is under way. */
interface Request {
  readonly server: CallSpan;
  readonly startedAt: number;
  /** Until the event is stored. A request that attaches to an older call never publishes one, and then it never ends. */
  publish: CallSpan | undefined;
  hold: CallSpan | undefined;
}

/**
 * The caller's half of a trace:
 *
 * ```
 * (the caller's span, if it has one)
 * └─ server: the request, from its head to its answer
 *    ├─ publish: the action event is stored; the event carries this context to the callee's side
 *    └─ hold: from then on until the answer
 * ```
 */
export class CallerSpans {
  readonly #spans: Spans;
  readonly #system: string;
  readonly #requests = new WeakMap<TraceContext, Request>();

  /** @param system what stores the events, such as `nats` */
  constructor(spans: Spans, system: string) {
    this.#spans = spans;
    this.#system = system;
  }

  subscribe(to: Subscriptions): void {
    to.on(callStarting, (starting) => this.#begin(starting));
    to.on(callAccepted, ({ call, mode, follows, trace: context }) => {
      const request = this.#of(context);
      if (request === undefined) return;
      if (follows !== undefined) link(request.server, follows, 'earlier round');
      if (call.round > 1) request.publish?.set('holdline.call.round', call.round);
      this.#published(request, mode === 'await');
    });
    to.on(callAnswered, (answered) => {
      const request = this.#of(answered.trace);
      if (request === undefined) return;
      const { status, problem, replayed, outcome, answers, trace: context } = answered;
      const attached = answers !== undefined && answers.traceparent !== context?.traceparent;
      if (attached) {
        link(request.server, answers, replayed ? 'replayed' : 'attached');
        if (!replayed) request.hold = this.#hold(request, request.startedAt);
      } else if (outcome !== undefined && !replayed) {
        // The answer may be there before the broker has confirmed that the call is stored.
        this.#published(request, true);
      } else if (problem === 'broker-unavailable') {
        request.publish?.fail(problem).end(spanTime());
      }
      request.hold?.end(spanTime());
      const { server } = request;
      server.set('http.response.status_code', status);
      if (replayed) server.set('holdline.replayed', true);
      if (outcome !== undefined) server.set('holdline.outcome', outcome);
      if (problem !== undefined) server.set('holdline.problem', problem);
      if (status >= 500) {
        server.fail(problem ?? String(status));
      }
      server.end(spanTime());
    });
    to.on(callerGone, ({ trace: context }) => {
      const request = this.#of(context);
      if (request === undefined) return;
      request.hold?.end(spanTime());
      request.server.set('error.type', 'caller-gone').end(spanTime());
    });
  }

  #of(context: TraceContext | undefined): Request | undefined {
    return context === undefined ? undefined : this.#requests.get(context);
  }

  #begin(starting: CallStarting): void {
    const { id, service, route, method, target, host, port, bodyBytes, startedAt, caller } = starting;
    const server = this.#spans.start({
      name: `${methodName(method)} ${route}`,
      kind: SpanKind.SERVER,
      at: spanTimeOf(startedAt),
      parent: caller && spanContextOf(caller),
      attributes: [
        ...methodAttributes(method),
        'url.scheme',
        'http',
        'url.path',
        pathOf(target),
        'server.address',
        host,
        'server.port',
        port,
        'holdline.call.id',
        id,
        'holdline.call.service',
        service,
        'holdline.call.route',
        route,
      ],
    });
    const publish = this.#spans.start({
      name: `publish ${service}`,
      kind: SpanKind.PRODUCER,
      at: spanTime(),
      parent: server,
      attributes: [
        ...messagingAttributes(this.#system, { name: 'publish', type: 'send' }, service, id),
        'messaging.message.body.size',
        bodyBytes,
      ],
    });
    starting.trace = publish.traceContext();
    this.#requests.set(starting.trace, { server, startedAt, publish, hold: undefined });
  }

  /** A second time does nothing. */
  #published(request: Request, holds: boolean): void {
    if (request.publish === undefined) return;
    request.publish.end(spanTime());
    request.publish = undefined;
    if (holds) request.hold = this.#hold(request, undefined);
  }

  /** @param since on the clock of `performance.now()`; undefined is now */
  #hold({ server }: Request, since: number | undefined): CallSpan {
    const at = since === undefined ? spanTime() : spanTimeOf(since);
    return this.#spans.start({ name: 'hold', kind: SpanKind.INTERNAL, at, parent: server, attributes: [] });
  }
}

function link(span: CallSpan, to: TraceContext, why: 'replayed' | 'attached' | 'earlier round'): void {
  span.link(spanContextOf(to), ['holdline.link', why]);
}
