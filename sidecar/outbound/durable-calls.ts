import { BODY_WINDOW } from '../broker/chunks.ts';
import { BrokerUnavailable, type Broker, type CallerLog, type PublisherLog } from '../broker/port.ts';
import { LinkedHashMap } from '../collections/linked-hash-map.ts';
import type { RouteConfig } from '../config/config.ts';
import { readBody } from '../http/body.ts';
import { endToEndRequest } from '../http/headers.ts';
import { callerContext, newTrace } from '../http/trace-context.ts';
import { contentCallId, contentKey, fingerprint, keyedCallId } from '../model/call-id.ts';
import type { ActionEvent, BodyRef, TraceContext } from '../model/call.ts';
import { isIdempotentMethod } from '../policy/idempotency.ts';
import { orderKeyOf } from '../policy/order.ts';
import { parsePrefer } from '../policy/prefer.ts';
import type { Routed } from '../policy/route.ts';
import { callerGone, callStarting, type CallStarting, trouble } from '../telemetry/channels.ts';
import type { Alarms } from './alarms.ts';
import { malformed, problem, type Reply } from '../http/answer.ts';
import { BrokerPatience } from './broker-patience.ts';
import { ContentKeys } from './content-keys.ts';
import type { Exchange } from './exchange.ts';
import { Hold } from './hold.ts';
import type { Holds } from './holds.ts';
import { eventOf, Publication } from './publication.ts';
import { OpenCall, type OpenCallContext } from './open-call.ts';
import { upload } from './upload.ts';

/** When it makes sense to come back to a sidecar that holds too much, ms. */
const overloadTime = 1000;

const nothing = Buffer.alloc(0);

/** A request whose body is stored apart. */
interface StoredRequest {
  readonly id: string;
  readonly keyed: boolean;
  readonly ref: BodyRef;
  readonly fingerprint: string;
}

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
  passThrough(exchange: Exchange, body?: Uint8Array): void;
}

/** Turns requests of durable routes into calls, and calls' answers into the requests' answers. */
export class DurableCalls {
  readonly #options: DurableCallsOptions;
  readonly #patience: BrokerPatience;
  /** Calls with a key by id, so that callers of one instance wait for one call. */
  readonly #keyed = new LinkedHashMap<string, OpenCall>();
  readonly #contents: ContentKeys;
  readonly #context: OpenCallContext;

  constructor(options: DurableCallsOptions) {
    this.#options = options;
    const { alarms, broker, log } = options;
    this.#patience = new BrokerPatience(broker, alarms);
    const closed = (call: OpenCall) => {
      if (this.#keyed.get(call.id) === call) this.#keyed.delete(call.id);
    };
    this.#context = { log, bodies: broker.bodies, alarms, patience: this.#patience, closed };
    this.#contents = new ContentKeys(log, broker.bodies, alarms, this.#patience);
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
    if (this.#options.holds.hasComeBack(exchange)) {
      exchange.send(cameBack(callee ?? 'the subscribers'));
      return;
    }
    const declared = facts.contentLength ?? 0;
    if (declared > this.#bodyLimit(route)) {
      this.#tooLarge(exchange, route);
      return;
    }
    const isLarge = declared > this.#inlineLimit(route);
    const { alarms, holds } = this.#options;
    const hold = new Hold(exchange, route, parsePrefer(facts.prefer), alarms);
    const refusal = holds.admit(hold, isLarge ? Math.min(declared, BODY_WINDOW) : declared);
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
    if (isLarge && callee !== undefined) this.#upload(hold, callee, []);
    else if (exchange.hasBody) this.#read(hold, callee);
    else this.#begin(hold, callee, nothing);
  }

  close(): void {
    this.#patience.close();
  }

  #read(hold: Hold, service: string | undefined): void {
    const { alarms, holds, stallLimit } = this.#options;
    const { exchange, route } = hold;
    const { req, res, facts } = exchange;
    if (exchange.expectsContinue) res.writeContinue();
    let lastByteAt = performance.now();
    const stalled = () => {
      const left = lastByteAt + stallLimit - performance.now();
      if (left > 0) alarm = alarms.set(left, stalled);
      else exchange.send(stalledReply());
    };
    let alarm = alarms.set(stallLimit, stalled);
    // A declared length is admitted as a whole before.
    const admit = (bytes: number) => {
      lastByteAt = performance.now();
      return facts.contentLength !== undefined || holds.grow(hold, bytes);
    };
    const reading = readBody(req, this.#inlineLimit(route), admit).then((read) => {
      alarm.cancel();
      if (exchange.over) return;
      if (read.kind === 'whole') this.#begin(hold, service, read.body);
      else if (read.kind === 'refused') this.#overloaded(exchange, 'heldBytes');
      else if (read.kind === 'over-limit') {
        if (service === undefined || mustFit(route) || this.#inlineLimit(route) >= route.maxBody) {
          this.#tooLarge(exchange, route);
        } else this.#upload(hold, service, read.parts);
      }
    });
    reading.catch((error: unknown) => this.#defect(exchange, error));
  }

  /** The body is too large for the event: it is stored apart, while it arrives. @param before what was read of it already */
  #upload(hold: Hold, service: string, before: readonly Buffer[]): void {
    const inMemory = Math.min(hold.exchange.facts.contentLength ?? BODY_WINDOW, BODY_WINDOW);
    if (!this.#options.holds.resize(hold, inMemory)) this.#overloaded(hold.exchange, 'heldBytes');
    else this.#store(hold, service, before).catch((error: unknown) => this.#defect(hold.exchange, error));
  }

  async #store(hold: Hold, service: string, before: readonly Buffer[]): Promise<void> {
    const { alarms, holds, broker, stallLimit } = this.#options;
    const { exchange, route } = hold;
    if (!broker.status.connected && !(await this.#patience.returns())) {
      if (!exchange.over) this.#refuseUpload(hold, before);
      return;
    }
    if (exchange.over) return;
    if (exchange.expectsContinue && before.length === 0) exchange.res.writeContinue();
    const named = this.#idOf(exchange, route, service);
    const call = { ...named, service, caller: this.#options.service };
    const limits = { bodies: broker.bodies, alarms, limit: route.maxBody, stallLimit };
    const uploaded = await upload(exchange, { kind: 'request', call }, before, limits);
    if (uploaded.kind === 'stored') {
      holds.resize(hold, 0);
      if (exchange.over) await broker.bodies.forget(uploaded.ref);
      else this.#begin(hold, service, nothing, { ...named, ...uploaded });
    } else if (exchange.over || uploaded.kind === 'gone') return;
    else if (uploaded.kind === 'too-large') this.#tooLarge(exchange, route);
    else if (uploaded.kind === 'stalled') exchange.send(stalledReply());
    else hold.refuse(uploaded.error);
  }

  /** What has come of a body can still be passed through as long as none of it has gone to the broker. */
  #refuseUpload(hold: Hold, before: readonly Buffer[]): void {
    const { exchange, route } = hold;
    const { status } = this.#options.broker;
    if (route.onBrokerDown === 'passthrough') {
      for (const part of before.toReversed()) exchange.req.unshift(part);
      this.#options.passThrough(exchange);
    } else {
      hold.refuse(new BrokerUnavailable(status.detail ?? 'not connected'));
    }
  }

  /** @param service undefined for an event */
  #begin(hold: Hold, service: string | undefined, body: Buffer, stored?: StoredRequest): void {
    const { exchange, route } = hold;
    if (service === undefined) {
      this.#publish(hold, body);
      return;
    }
    const action = this.#actionOf(exchange, route, service, body, stored);
    exchange.trace = action.trace;
    // A body that has gone to the broker cannot be had back without it.
    if (route.onBrokerDown === 'passthrough' && stored === undefined) {
      hold.fallback = () => this.#options.passThrough(exchange, body);
    }
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
    if (known !== undefined && stored !== undefined) {
      this.#options.broker.bodies.forget(stored.ref).catch((error: unknown) => this.#defect(exchange, error));
    }
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

  #idOf(exchange: Exchange, route: RouteConfig, service: string): { readonly id: string; readonly keyed: boolean } {
    const { address, method } = exchange;
    const { path } = address;
    const { service: caller, log } = this.#options;
    const key = keyOf(exchange);
    if (isByContent(route, key)) return { id: contentCallId(service), keyed: true };
    const keyed = key !== undefined && route.idempotencyKey !== 'none';
    return { id: keyed ? keyedCallId({ caller, service, method, path, key }) : log.newCallId(service), keyed };
  }

  #actionOf(
    exchange: Exchange,
    route: RouteConfig,
    service: string,
    body: Buffer,
    stored: StoredRequest | undefined,
  ): ActionEvent {
    const { facts, address, method, req } = exchange;
    const { target } = address;
    const { service: caller } = this.#options;
    const key = keyOf(exchange);
    const { id, keyed } = stored ?? this.#idOf(exchange, route, service);
    const acceptedAt = Date.now();
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
      ...(stored !== undefined && { bodyRef: stored.ref }),
      hasBody: exchange.hasBody,
      acceptedAt,
      deadline: acceptedAt + route.deadline,
      idempotent: route.idempotent ?? isIdempotentMethod(method),
      retry: route.retry,
      keyed,
      ...(key !== undefined && { idempotencyKey: key }),
      // Only requests with a key are compared.
      fingerprint: keyed ? (stored?.fingerprint ?? fingerprint(target, facts.contentType, body)) : '',
      maxBody: route.maxBody,
      ...(orderKey !== undefined && { orderKey }),
      earlier: [],
      ...(route.callback !== undefined && {
        callback: { method: route.callback.method, target: route.callback.path },
      }),
      trace: traceOf(exchange, {
        id,
        service,
        route: route.name,
        method,
        target,
        bodyBytes: stored?.ref.size ?? body.byteLength,
      }),
    };
  }

  #contentKeyOf({ req, address }: Exchange, { caller, service, method, fingerprint: print }: ActionEvent): string {
    const { authorization = '', cookie = '' } = req.headers;
    const credentials = [authorization, cookie];
    return contentKey({ caller, service, host: address.host, method, fingerprint: print, credentials });
  }

  #bodyLimit(route: RouteConfig): number {
    return mustFit(route) ? Math.min(route.maxBody, this.#options.broker.maxEventBody) : route.maxBody;
  }

  /** Larger bodies are stored apart from their event. */
  #inlineLimit(route: RouteConfig): number {
    const { maxInlineBody, maxEventBody } = this.#options.broker;
    return Math.min(route.maxBody, mustFit(route) ? maxEventBody : maxInlineBody);
  }

  #tooLarge(exchange: Exchange, route: RouteConfig): void {
    const limit = this.#bodyLimit(route);
    const whose = limit < route.maxBody ? 'what the broker takes as one event' : `maxBody of the route ${route.name}`;
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

/** `508` is no status that is tried again, so that the call in its first round ends with it. */
function cameBack(service: string): Reply {
  const detail =
    `This is an attempt of a call to ${service} for which a caller waits here: it came back to the sidecar that sent it. ` +
    `The inbound url of ${service} seems to lead to an outbound listener.`;
  return problem('upstream-unreachable', { detail, status: 508, error: 'proxy_loop_detected' });
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

/** A body that goes to many, or that an order key is read from, is not stored apart. */
function mustFit({ mode, orderBy }: RouteConfig): boolean {
  return mode === 'broadcast' || orderBy?.kind === 'json';
}

function keyOf({ facts }: Exchange): string | undefined {
  return facts.idempotencyKeys[0] === '' ? undefined : facts.idempotencyKeys[0];
}

function stalledReply(): Reply {
  return malformed('The request body stopped arriving.', 408);
}
