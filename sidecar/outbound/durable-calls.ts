import type { Broker, CallerLog, PublisherLog } from '../broker/port.ts';
import type { RouteConfig } from '../config/config.ts';
import { readBody } from '../http/body.ts';
import { endToEndRequest } from '../http/headers.ts';
import { callerContext, newTrace } from '../http/trace-context.ts';
import { contentCallId, contentKey, fingerprint, keyedCallId } from '../model/call-id.ts';
import type { ActionEvent, TraceContext } from '../model/call.ts';
import { isIdempotentMethod } from '../policy/idempotency.ts';
import { orderKeyOf } from '../policy/order.ts';
import { parsePrefer } from '../policy/prefer.ts';
import type { Routed } from '../policy/route.ts';
import { callerGone, callStarting, type CallStarting, trouble } from '../telemetry/channels.ts';
import type { Alarms } from './alarms.ts';
import { malformed, problem } from '../http/answer.ts';
import { BrokerPatience } from './broker-patience.ts';
import { ContentKeys } from './content-keys.ts';
import type { Exchange } from './exchange.ts';
import { Hold } from './hold.ts';
import type { Holds } from './holds.ts';
import { eventOf, Publication } from './publication.ts';
import { OpenCall, type OpenCallContext } from './open-call.ts';

/** When it makes sense to come back to a sidecar that holds too much, ms. */
const overloadTime = 1000;

const nothing = Buffer.alloc(0);

export interface DurableCallsOptions {
  /** The service that calls. */
  readonly service: string;
  readonly broker: Broker;
  readonly log: CallerLog;
  readonly events: PublisherLog;
  readonly alarms: Alarms;
  readonly holds: Holds;
  /** A caller that sends nothing of its body for this long is given up, ms. */
  readonly stallLimit: number;
  /** Sends a request that could not be stored on to its callee. */
  passThrough(exchange: Exchange, body: Uint8Array): void;
}

/** Turns requests of durable routes into calls, and calls' answers into the requests' answers. */
export class DurableCalls {
  readonly #options: DurableCallsOptions;
  readonly #patience: BrokerPatience;
  /** Calls with a key by id, so that callers of one instance wait for one call. */
  readonly #keyed = new Map<string, OpenCall>();
  readonly #contents: ContentKeys;
  readonly #context: OpenCallContext;

  constructor(options: DurableCallsOptions) {
    this.#options = options;
    const { alarms, broker, log } = options;
    this.#patience = new BrokerPatience(broker, alarms);
    const closed = (call: OpenCall) => {
      if (this.#keyed.get(call.id) === call) this.#keyed.delete(call.id);
    };
    this.#context = { log, alarms, patience: this.#patience, closed };
    this.#contents = new ContentKeys(log, alarms, this.#patience);
  }

  /** Answers the exchange, now or when its call is answered. */
  handle(exchange: Exchange, { route, service }: Routed): void {
    const { facts, address } = exchange;
    exchange.route = route.name;
    if (service === undefined && route.mode !== 'broadcast') {
      const host = address.host === '' ? 'no host' : `the host ${address.host}`;
      const detail = `The route ${route.name} matched, but ${host} is not the name of a service; name the peer in the route's service.`;
      exchange.send(problem('not-routed', { detail }));
      return;
    }
    // Whom an event was addressed to means nothing to those who subscribed.
    const callee = route.mode === 'broadcast' ? undefined : service;
    exchange.service = callee;
    if (new Set(facts.idempotencyKeys).size > 1) {
      exchange.send(malformed('The request has more than one Idempotency-Key.'));
      return;
    }
    const limit = this.#bodyLimit(route);
    if ((facts.contentLength ?? 0) > limit) {
      this.#tooLarge(exchange, route, limit);
      return;
    }
    const { alarms, holds } = this.#options;
    const hold = new Hold(exchange, route, parsePrefer(facts.prefer), alarms);
    const refusal = holds.admit(hold, facts.contentLength ?? 0);
    if (refusal !== undefined) {
      this.#overloaded(exchange, refusal);
      return;
    }
    exchange.res.once('close', () => {
      hold.over();
      holds.release(hold);
      if (exchange.res.headersSent || callee === undefined || !callerGone.hasSubscribers) return;
      tellGone(exchange, route.name, callee);
    });
    if (exchange.hasBody) this.#read(hold, callee, limit);
    else this.#begin(hold, callee, nothing);
  }

  close(): void {
    this.#patience.close();
  }

  #bodyLimit(route: RouteConfig): number {
    return Math.min(route.maxBody, this.#options.broker.maxInlineBody);
  }

  #read(hold: Hold, service: string | undefined, limit: number): void {
    const { alarms, holds, stallLimit } = this.#options;
    const { exchange, route } = hold;
    const { req, res, facts } = exchange;
    if (exchange.expectsContinue) res.writeContinue();
    let lastByteAt = performance.now();
    const stalled = () => {
      const left = lastByteAt + stallLimit - performance.now();
      if (left > 0) alarm = alarms.set(left, stalled);
      else exchange.send(malformed('The request body stopped arriving.', 408));
    };
    let alarm = alarms.set(stallLimit, stalled);
    // A declared length is admitted as a whole before.
    const admit = (bytes: number) => {
      lastByteAt = performance.now();
      return facts.contentLength !== undefined || holds.grow(hold, bytes);
    };
    const reading = readBody(req, limit, admit).then((read) => {
      alarm.cancel();
      if (exchange.over) return;
      if (read.kind === 'whole') this.#begin(hold, service, read.body);
      else if (read.kind === 'too-large') this.#tooLarge(exchange, route, limit);
      else if (read.kind === 'refused') this.#overloaded(exchange, 'heldBytes');
    });
    reading.catch((error: unknown) => this.#defect(exchange, error));
  }

  /** @param service undefined for an event */
  #begin(hold: Hold, service: string | undefined, body: Buffer): void {
    const { exchange, route } = hold;
    if (service === undefined) {
      this.#publish(hold, body);
      return;
    }
    const action = this.#actionOf(exchange, route, service, body);
    exchange.trace = action.trace;
    if (route.onBrokerDown === 'passthrough') hold.fallback = () => this.#options.passThrough(exchange, body);
    if (!action.keyed) {
      const call = new OpenCall(this.#context, action);
      call.join(hold);
      call.carry();
      return;
    }
    if (isByContent(route, action.idempotencyKey)) {
      this.#contents.begin(hold, action, this.#contentKeyOf(exchange, action));
      return;
    }
    const known = this.#keyed.get(action.id);
    const call = known ?? new OpenCall(this.#context, action);
    if (!call.accepts(action.fingerprint)) {
      const detail = 'The Idempotency-Key is in use with another target, content type or body.';
      exchange.send(problem('key-reused', { detail, callId: action.id }));
      return;
    }
    call.join(hold);
    if (known !== undefined) return;
    this.#keyed.set(action.id, call);
    call.carry();
  }

  #publish(hold: Hold, body: Buffer): void {
    const { exchange, route } = hold;
    const { service, events } = this.#options;
    const event = eventOf(exchange, route, { publisher: service, body, newId: () => events.newEventId() });
    exchange.trace = event.trace;
    if (route.onBrokerDown === 'passthrough') hold.fallback = () => this.#options.passThrough(exchange, body);
    new Publication(events, this.#patience, event).publish(hold);
  }

  #actionOf(exchange: Exchange, route: RouteConfig, service: string, body: Buffer): ActionEvent {
    const { facts, address, method, req } = exchange;
    const { target, path } = address;
    const { service: caller, log } = this.#options;
    const key = facts.idempotencyKeys[0] === '' ? undefined : facts.idempotencyKeys[0];
    const byContent = isByContent(route, key);
    const keyed = key !== undefined && route.idempotencyKey !== 'none';
    const acceptedAt = Date.now();
    const id = keyed
      ? keyedCallId({ caller, service, method, path, key })
      : byContent
        ? contentCallId(service)
        : log.newCallId(service);
    const { orderBy } = route;
    const orderKey = orderBy && orderKeyOf(orderBy, { headers: req.rawHeaders, target, body });
    return {
      id,
      round: 1,
      caller,
      service,
      route: route.name,
      method,
      target,
      headers: endToEndRequest(req.rawHeaders, facts, address.authority),
      trailers: req.rawTrailers,
      body,
      hasBody: exchange.hasBody,
      acceptedAt,
      deadline: acceptedAt + route.deadline,
      idempotent: route.idempotent ?? isIdempotentMethod(method),
      retry: route.retry,
      keyed: keyed || byContent,
      ...(key !== undefined && { idempotencyKey: key }),
      fingerprint: fingerprint(target, facts.contentType, body),
      maxBody: route.maxBody,
      ...(orderKey !== undefined && { orderKey }),
      earlier: [],
      ...(route.callback !== undefined && {
        callback: { method: route.callback.method, target: route.callback.path },
      }),
      trace: traceOf(exchange, { id, service, route: route.name, method, target, bodyBytes: body.byteLength }),
    };
  }

  #contentKeyOf({ req, address }: Exchange, { caller, service, method, fingerprint: print }: ActionEvent): string {
    const { authorization = '', cookie = '' } = req.headers;
    const credentials = [authorization, cookie];
    return contentKey({ caller, service, host: address.host, method, fingerprint: print, credentials });
  }

  #tooLarge(exchange: Exchange, route: RouteConfig, limit: number): void {
    const whose = limit < route.maxBody ? 'what the broker takes' : `maxBody of the route ${route.name}`;
    const detail = `The request body is over ${limit} bytes, ${whose}.`;
    exchange.send(problem('body-too-large', { detail, close: true }));
  }

  #overloaded(exchange: Exchange, limit: 'held' | 'heldBytes'): void {
    const { limits } = this.#options.holds;
    const detail = `As much as limits.${limit} (${limits[limit]}) allows is held already; nothing was accepted.`;
    exchange.send(problem('overloaded', { detail, retryAfter: overloadTime }));
  }

  #defect(exchange: Exchange, error: unknown): void {
    trouble.publish({ where: 'outbound', error: error instanceof Error ? error : new Error(String(error)) });
    exchange.res.destroy();
  }
}

/** A key that the caller gave says more than what the request looks like. */
function isByContent({ idempotencyKey }: RouteConfig, key: string | undefined): boolean {
  return idempotencyKey === 'content' && key === undefined;
}

/** The caller's trace goes on, or a new one begins; whoever listens may continue it by a span of its own. */
function traceOf(
  { facts, address, startedAt }: Exchange,
  call: Omit<CallStarting, 'caller' | 'trace' | 'host' | 'port' | 'startedAt'>,
): TraceContext {
  const caller = callerContext(facts.traceparent, facts.tracestate);
  if (!callStarting.hasSubscribers) return caller ?? newTrace();
  const { host, port } = address;
  const starting: CallStarting = { ...call, host, port, startedAt, caller };
  callStarting.publish(starting);
  return starting.trace ?? caller ?? newTrace();
}

function tellGone({ startedAt, trace }: Exchange, route: string, service: string): void {
  const heldMs = performance.now() - startedAt;
  callerGone.publish({ route, service, heldMs, ...(trace !== undefined && { trace }) });
}
