import type { IncomingMessage, ServerResponse } from 'node:http';
import { BODY_WINDOW } from '../broker/chunks.ts';
import { BodyLost, BrokerUnavailable, type BodyStore } from '../broker/port.ts';
import { unreadable, unwritable, type Reply } from '../http/answer.ts';
import { pour, primed } from '../http/body.ts';
import type { RequestFacts } from '../http/headers.ts';
import { fieldValue, withoutField } from '../http/headers.ts';
import type { Addressed } from '../http/target.ts';
import type { BodyRef, RawHeaders, ResponseEvent, TraceContext } from '../model/call.ts';
import { callAnswered, trouble } from '../telemetry/channels.ts';
import type { Alarms } from './alarms.ts';

/** Up to this much of a refused request's body is read and dropped, so that the connection can be used again, bytes. */
const dropLimit = 64 * 1024;
/** How long a refused caller may go on sending before the connection is closed under it, ms. */
const lingerLimit = 1000;

/** What an exchange shares with all others of its sidecar. */
export interface ExchangeContext {
  readonly alarms: Alarms;
  /** The sidecar is stopping: connections end with their answers. */
  readonly draining: boolean;
  /** A caller that takes in nothing of its answer for this long is given up, ms. */
  readonly stallLimit: number;
  /** So many bytes of the answer wait in memory for a caller that reads more slowly than they came; until `res` is closed. */
  unread(res: ServerResponse, bytes: number): void;
  /** Where the bodies of large answers are. */
  readonly bodies: BodyStore;
}

const lingering = new WeakMap<ServerResponse, () => void>();

/**
 * Ends the wait for the rest of a request whose refusal is written already.
 * @returns false where this response is not in that state
 */
export function endLinger(res: ServerResponse): boolean {
  const end = lingering.get(res);
  end?.();
  return end !== undefined;
}

/** One request of the caller and the answer that it gets. */
export class Exchange {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly facts: RequestFacts;
  readonly address: Addressed;
  readonly startedAt = performance.now();
  /** The caller waits for `100 Continue` before it sends its body. */
  readonly expectsContinue: boolean;
  /** For telemetry, where they are known. */
  route: string | undefined;
  service: string | undefined;
  trace: TraceContext | undefined;
  /** The stored answer that the caller gets. */
  response: ResponseEvent | undefined;
  /** The connection ends with the answer, which is given. */
  isLast = false;
  readonly #context: ExchangeContext;

  constructor(
    context: ExchangeContext,
    req: IncomingMessage,
    res: ServerResponse,
    of: { readonly facts: RequestFacts; readonly address: Addressed; readonly expectsContinue: boolean },
  ) {
    this.#context = context;
    this.req = req;
    this.res = res;
    this.facts = of.facts;
    this.address = of.address;
    this.expectsContinue = of.expectsContinue;
  }

  get method(): string {
    return this.req.method!;
  }

  /** Whether the request has a body, an empty one included (RFC 9112 §6.3). */
  get hasBody(): boolean {
    return this.facts.contentLength !== undefined || this.facts.transferEncoding !== undefined;
  }

  /** The caller has gone away, or has its answer. */
  get over(): boolean {
    return this.res.closed || this.res.destroyed || this.res.headersSent;
  }

  /** Writes the answer; nothing where the caller has gone away or is answered already. */
  send(reply: Reply): void {
    if (this.over) return;
    if (reply.bodyRef !== undefined && !isBodyless(this.method, reply.status)) {
      this.#sendStored(reply, reply.bodyRef).catch((error: unknown) => this.#broken(error));
      return;
    }
    const stillToCome = this.hasBody && !this.req.complete;
    const declared = this.facts.contentLength ?? Number.POSITIVE_INFINITY;
    const lingers = stillToCome && (reply.close || declared > dropLimit);
    const close = reply.close || lingers || this.#context.draining;
    this.isLast = close;
    try {
      writeReply(this.res, this.method, this.req.httpVersionMinor, reply, { close, end: !lingers });
    } catch (error) {
      this.#unwritable(reply, error);
      return;
    }
    if (lingers) this.#linger();
    // What was begun to be read must be read to its end before the connection can be used again.
    else if (stillToCome) this.req.unpipe().resume();
    if (this.res.writableLength > 0) this.#watchReader(this.res.writableLength);
    if (callAnswered.hasSubscribers) this.#tell(reply);
  }

  /** The caller does not read its answer as fast as it is there. @param bytes of it that wait in memory */
  #watchReader(bytes: number): void {
    const { res } = this;
    const { socket } = this.req;
    this.#context.unread(res, bytes);
    // Any progress starts it anew.
    socket.setTimeout(this.#context.stallLimit);
    // Before node:http sets its own limit for what comes next on this connection.
    res.prependOnceListener('finish', () => socket.setTimeout(0));
  }

  /** Writes an answer whose body is read from the broker while it is written. */
  async #sendStored(reply: Reply, ref: BodyRef): Promise<void> {
    const { req, res } = this;
    let parts: AsyncGenerator<Uint8Array, void, undefined>;
    try {
      // What cannot be read at all should not begin as a good answer.
      parts = await primed(this.#context.bodies.read(ref));
    } catch (error) {
      if (error instanceof BodyLost) this.send(unreadable(reply, error.message));
      else if (error instanceof BrokerUnavailable) this.send(unreadable(reply, error.message, error.retryAfter));
      else throw error;
      return;
    }
    if (this.over) {
      await parts.return();
      return;
    }
    const stillToCome = this.hasBody && !req.complete;
    const close = reply.close || stillToCome || this.#context.draining;
    try {
      const chunked = writeHead(res, this.method, req.httpVersionMinor, reply, close);
      if (chunked && reply.trailers.length > 0) res.addTrailers(fieldPairs(reply.trailers));
    } catch (error) {
      this.#unwritable(reply, error);
      await parts.return();
      return;
    }
    if (stillToCome) req.unpipe().resume();
    if (callAnswered.hasSubscribers) this.#tell(reply);
    this.#watchReader(BODY_WINDOW);
    if (await pour(parts, res)) res.end();
  }

  /** Answers can be published by hand: one that would not be the HTTP that it seems to be is not written at all. */
  #unwritable(reply: Reply, error: unknown): void {
    if (this.over || reply.problem !== undefined) {
      this.#broken(error);
      return;
    }
    const cause = error instanceof Error ? error : new Error(String(error));
    trouble.publish({ where: 'outbound', error: cause, ...(reply.callId !== undefined && { callId: reply.callId }) });
    this.send(unwritable(reply, cause.message));
  }

  /** An answer that was begun cannot be taken back; only a broken connection says that it is not whole. */
  #broken(error: unknown): void {
    trouble.publish({ where: 'outbound', error: error instanceof Error ? error : new Error(String(error)) });
    this.res.destroy();
  }

  /**
   * The caller is still sending. Closing now would make the system answer what arrives later with a reset, which can
   * destroy the answer before the caller has read it (RFC 9112 §9.6).
   */
  #linger(): void {
    const { req, res } = this;
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      lingering.delete(res);
      alarm.cancel();
      res.end();
    };
    lingering.set(res, end);
    const alarm = this.#context.alarms.set(lingerLimit, end);
    // Who waits for "100 Continue" has sent nothing.
    if (this.expectsContinue) end();
    else req.unpipe().on('end', end).on('close', end).resume();
  }

  #tell(reply: Reply): void {
    const { route, service, trace, response } = this;
    const answers = response?.trace;
    callAnswered.publish({
      ...(reply.callId !== undefined && { id: reply.callId }),
      ...(route !== undefined && { route }),
      ...(service !== undefined && { service }),
      method: this.method,
      target: this.address.target,
      status: reply.status,
      ...(reply.problem !== undefined && { problem: reply.problem }),
      replayed: reply.replayed,
      ...(response !== undefined && { outcome: response.outcome }),
      ...(answers !== undefined && { answers }),
      heldMs: performance.now() - this.startedAt,
      ...(trace !== undefined && { trace }),
    });
  }
}

/** Writes a reply with exactly its own fields, besides the framing. */
function writeReply(
  res: ServerResponse,
  method: string,
  minorVersion: number,
  reply: Reply,
  how: { readonly close: boolean; readonly end: boolean },
): void {
  const { body, trailers } = reply;
  const chunked = writeHead(res, method, minorVersion, reply, how.close);
  if (chunked && trailers.length > 0) res.addTrailers(fieldPairs(trailers));
  if (!isBodyless(method, reply.status) && body.byteLength > 0) {
    if (how.end) res.end(body);
    else res.write(body);
  } else if (how.end) {
    res.end();
  } else {
    res.flushHeaders();
  }
}

/**
 * Writes the head of an answer with exactly its own fields, besides the framing.
 * @param close the connection ends with this answer
 * @returns whether the content goes in chunks, so that trailers may follow
 */
export function writeHead(
  res: ServerResponse,
  method: string,
  minorVersion: number,
  head: { readonly status: number; readonly reason: string; readonly headers: RawHeaders },
  close: boolean,
): boolean {
  let { headers } = head;
  if (head.status < 200) throw new RangeError(`${head.status} is not the status of an answer`);
  res.sendDate = false;
  if (close) res.shouldKeepAlive = false;
  // Persistent is what HTTP/1.1 is by itself: no `Connection`, no `Keep-Alive`.
  else if (res.shouldKeepAlive && minorVersion > 0) res.removeHeader('Connection');
  const chunked =
    minorVersion > 0 && !isBodyless(method, head.status) && fieldValue(headers, 'content-length') === undefined;
  // Trailers travel in chunked content only (RFC 9110 §6.5.1); node:http throws for the field that announces them elsewhere.
  if (!chunked && fieldValue(headers, 'trailer') !== undefined) headers = withoutField(headers, 'trailer');
  res.writeHead(head.status, head.reason, headers as string[]);
  return chunked;
}

function isBodyless(method: string, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304;
}

/** The form that `addTrailers` takes. */
export function fieldPairs(flat: readonly string[]): [string, string][] {
  const list: [string, string][] = [];
  for (let at = 0; at < flat.length; at += 2) list.push([flat[at]!, flat[at + 1]!]);
  return list;
}
