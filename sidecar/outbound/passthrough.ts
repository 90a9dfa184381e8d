import { randomBytes } from 'node:crypto';
import {
  Agent as HttpAgent,
  request as httpRequest,
  type ClientRequest,
  type IncomingMessage,
  type InformationEvent,
  type OutgoingHttpHeaders,
  type ServerResponse,
} from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { createProxyServer, type ProxyServer } from 'http-proxy-3';
import { endToEndAnswer, endToEndRequest, upgradeRequest, type RequestFacts } from '../http/headers.ts';
import { isSentAsIs, provisionalMethod, setMethod } from '../http/method.ts';
import type { Addressed } from '../http/target.ts';
import type { RawHeaders } from '../model/call.ts';
import { isIdempotentMethod } from '../policy/idempotency.ts';
import { passedThrough, trouble } from '../telemetry/channels.ts';
import type { Alarms } from './alarms.ts';
import { malformed, problem, type Reply } from '../http/answer.ts';
import { fieldPairs, writeHead, type Exchange } from './exchange.ts';
import { IdleLimit } from './idle-limit.ts';
import { refuse, replyBytes } from './refusal.ts';
import { unreachable, type Upstream, type Upstreams } from './upstreams.ts';

/** Free connections to a callee are closed before a callee with Node's default (5 s) closes them under a request, ms. */
const idleLimit = 4000;
/** A caller that is answered and still sends is cut off after this, ms. */
const uploadGrace = 1000;
/** So many requests under way to one callee may be a loop: from then on they are marked. */
const suspicious = 16;
/** What the head of an answer may have, bytes; as for an attempt. */
const maxHeaderSize = 256 * 1024;

/** A request that is passed through. */
interface Passage {
  readonly exchange: Exchange;
  readonly upstream: Upstream;
  proxyReq: ClientRequest | undefined;
  /** The callee's answer is complete. */
  answered: boolean;
}

export interface PassthroughOptions {
  readonly alarms: Alarms;
  readonly draining: () => boolean;
  readonly upstreams: () => Upstreams;
  /** Whether one of the sidecar's own outbound listeners is there. */
  isOwn(upstream: Upstream): boolean;
}

/**
 * Sends requests straight on to their callee: streams, and WebSocket upgrades.
 *
 * Requests go by `node:http` itself, which writes a flat list of raw fields as they are. Upgrades go by `http-proxy-3`, which copies
 * the parsed header object and normalises the path. Both are replaced on their way out: its `ssl` option is the object that it
 * completes to the options of `http.request`, so accessors there have the last word.
 */
export class Passthrough {
  readonly #options: PassthroughOptions;
  readonly #proxy: ProxyServer;
  readonly #http = new HttpAgent({ keepAlive: true });
  readonly #https = new HttpsAgent({ keepAlive: true });
  readonly #idle = new IdleLimit([this.#http, this.#https], idleLimit);
  /** Requests under way by callee. */
  readonly #underWay = new Map<string, number>();
  /** Marks requests as having been here. */
  readonly #mark = randomBytes(6).toString('hex');

  constructor(options: PassthroughOptions) {
    this.#options = options;
    this.#proxy = createProxyServer();
    this.#proxy.on('proxyReqWs', (proxyReq) => keepCase(proxyReq));
    // Every request brings its own error handler; what comes here is a caller's socket that broke.
    this.#proxy.on('error', () => undefined);
  }

  /**
   * Passes the request of an exchange through.
   * @param body the request's body, where it has been read already
   */
  forward(exchange: Exchange, body?: Uint8Array): void {
    const { address, facts, req, res } = exchange;
    const upstream = this.#options.upstreams().of(address);
    if (upstream === undefined) {
      exchange.send(malformed('The request names no host that it could be passed on to.'));
      return;
    }
    if (this.#isLoop(upstream, facts)) {
      exchange.send(loop(upstream));
      return;
    }
    const startedAt = performance.now();
    const done = this.#begin(upstream);
    const passage: Passage = { exchange, upstream, proxyReq: undefined, answered: false };
    res.once('close', () => {
      done();
      // Also where the caller was refused in the middle of its body, or goes away while it still sends.
      if (!passage.answered || !res.writableFinished) passage.proxyReq?.destroy();
      if (!passedThrough.hasSubscribers) return;
      const { method, route } = exchange;
      const { host, target } = address;
      const told = { host, method, target, status: res.statusCode, ms: performance.now() - startedAt };
      passedThrough.publish(route === undefined ? told : { ...told, route });
    });
    if (body === undefined && facts.transferEncoding !== undefined) {
      // Before it is piped, so that the trailers are there when the request is ended.
      req.once('end', () => {
        if (req.rawTrailers.length > 0) passage.proxyReq?.addTrailers(fieldPairs(req.rawTrailers));
      });
    }
    this.#send(passage, this.#requestHeaders(exchange, upstream, body), body, true);
  }

  /** Passes a WebSocket handshake through, and what follows it. */
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, address: Addressed, facts: RequestFacts): void {
    const upstream = this.#options.upstreams().of(address);
    if (upstream === undefined || this.#isLoop(upstream, facts)) {
      refuse(socket, upstream === undefined ? malformed('The request names no host.') : loop(upstream));
      return;
    }
    const done = this.#begin(upstream);
    socket.once('close', done);
    const headers = [...upgradeRequest(req.rawHeaders, facts, address.authority), ...this.#hops(upstream, facts)];
    const options = { target: targetOf(upstream), ssl: requestOptions(upstream, address, headers) };
    let isOpen = false;
    const opened = (proxyReq: ClientRequest, of: IncomingMessage) => {
      if (of !== req) return;
      this.#proxy.off('proxyReqWs', opened);
      for (const event of ['upgrade', 'response']) proxyReq.prependListener(event, () => (isOpen = true));
    };
    this.#proxy.on('proxyReqWs', opened);
    this.#proxy.ws(req, socket, head, options, (error) => {
      if (!isOpen && socket.writable)
        socket.write(replyBytes(problem('upstream-unreachable', unreachable(upstream, error))));
    });
    this.#proxy.off('proxyReqWs', opened);
  }

  close(): void {
    this.#idle.close();
  }

  #send(passage: Passage, headers: RawHeaders, body: Uint8Array | undefined, mayRepeat: boolean): void {
    const { exchange, upstream } = passage;
    const { req, res, address, method } = exchange;
    const isSecure = upstream.protocol === 'https:';
    const options = {
      host: upstream.hostname,
      port: upstream.port,
      path: pathOf(upstream, address),
      method: isSentAsIs(method, exchange.hasBody) ? method : provisionalMethod,
      headers: headers as string[],
      maxHeaderSize,
    };
    const proxyReq = isSecure
      ? httpsRequest({ ...options, agent: this.#https })
      : httpRequest({ ...options, agent: this.#http });
    passage.proxyReq = proxyReq;
    proxyReq.maxHeadersCount = 0;
    if (options.method !== method) setMethod(proxyReq, method);
    const failed = (error: NodeJS.ErrnoException) => {
      const isStale = proxyReq.reusedSocket && error.code === 'ECONNRESET';
      if (exchange.over) {
        if (!res.writableFinished) res.destroy();
      } else if (req.socket.destroyed) {
        proxyReq.destroy();
      } else if (isStale && mayRepeat && !exchange.hasBody && isIdempotentMethod(method)) {
        // The callee closed a kept connection at the moment it was used again (RFC 9112 §9.3.1).
        this.#send(passage, headers, body, false);
      } else {
        exchange.send(problem('upstream-unreachable', unreachable(upstream, error)));
      }
    };
    proxyReq
      .on('information', (interim) => relayInterim(interim, req, res))
      .on('response', (proxyRes) => this.#answer(proxyRes, passage))
      .on('error', failed);
    req.on('error', failed);
    if (body !== undefined) proxyReq.end(body);
    else if (exchange.hasBody) req.pipe(proxyReq);
    else proxyReq.end();
  }

  #answer(proxyRes: IncomingMessage, passage: Passage): void {
    const { req, res, method } = passage.exchange;
    if (passage.exchange.over) {
      proxyRes.resume();
      return;
    }
    const head = {
      status: proxyRes.statusCode ?? 502,
      reason: proxyRes.statusMessage ?? '',
      headers: endToEndAnswer(proxyRes.rawHeaders),
    };
    let chunked: boolean;
    try {
      chunked = writeHead(res, method, req.httpVersionMinor, head, !req.complete || this.#options.draining());
    } catch (error) {
      trouble.publish({ where: 'passthrough', error: error as Error });
      res.destroy();
      return;
    }
    proxyRes.once('end', () => {
      passage.answered = true;
      if (chunked && proxyRes.rawTrailers.length > 0) res.addTrailers(fieldPairs(proxyRes.rawTrailers));
    });
    // Half an answer must not look like a whole one.
    proxyRes.once('error', () => res.destroy()).once('aborted', () => res.destroy());
    res.once('finish', () => this.#endUpload(req));
    proxyRes.pipe(res);
  }

  /** The callee answered without taking the whole request. */
  #endUpload(req: IncomingMessage): void {
    if (req.complete) return;
    const alarm = this.#options.alarms.set(uploadGrace, () => req.socket.destroy());
    req
      .unpipe()
      .once('close', () => alarm.cancel())
      .resume();
  }

  #requestHeaders(exchange: Exchange, upstream: Upstream, body: Uint8Array | undefined): RawHeaders {
    const { facts, address, req } = exchange;
    const headers = [...endToEndRequest(req.rawHeaders, facts, address.authority)];
    // HTTP/1.0 can do without; what is sent on is HTTP/1.1.
    if (facts.hosts.length === 0 && address.authority === undefined) headers.unshift('Host', hostOf(address));
    if (exchange.expectsContinue && body === undefined) headers.push('Expect', '100-continue');
    if (body !== undefined && facts.transferEncoding !== undefined)
      headers.push('Content-Length', `${body.byteLength}`);
    else if (facts.transferEncoding !== undefined) headers.push('Transfer-Encoding', 'chunked');
    return [...headers, ...this.#hops(upstream, facts)];
  }

  #begin(upstream: Upstream): () => void {
    const key = keyOf(upstream);
    this.#underWay.set(key, (this.#underWay.get(key) ?? 0) + 1);
    return () => {
      const left = (this.#underWay.get(key) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(key);
      else this.#underWay.set(key, left);
    };
  }

  /**
   * A loop keeps every request of its round under way, so a mark is needed only where many are; ordinary traffic
   * arrives at its callee as it was sent. A marked request stays marked from sidecar to sidecar.
   */
  #hops(upstream: Upstream, { hops }: RequestFacts): string[] {
    if (hops !== undefined) return ['Holdline-Hops', `${hops}, ${this.#mark}`];
    const isMany = (this.#underWay.get(keyOf(upstream)) ?? 0) > suspicious;
    return isMany ? ['Holdline-Hops', this.#mark] : [];
  }

  #isLoop(upstream: Upstream, { hops }: RequestFacts): boolean {
    return this.#options.isOwn(upstream) || (hops !== undefined && hops.includes(this.#mark));
  }
}

function hostOf({ host, port }: Addressed): string {
  return port === 80 ? host : `${host}:${port}`;
}

function keyOf({ hostname, port }: Upstream): string {
  return `${hostname}:${port}`;
}

function loop({ hostname, port }: Upstream): Reply {
  const detail =
    `Passing this request on to ${hostname}:${port} would bring it back to this sidecar. ` +
    'Name where the host really is in outbound.hosts, or add a route.';
  return problem('upstream-unreachable', { detail, error: 'proxy_loop_detected' });
}

function targetOf({ protocol, hostname, port }: Upstream): {
  protocol: string;
  host: string;
  hostname: string;
  port: number;
} {
  return { protocol, host: hostname, hostname, port };
}

/** An interim answer (1xx) goes on as it came, to who understands it (RFC 9110 §15.2) and is not answered yet. */
function relayInterim(interim: InformationEvent, req: IncomingMessage, res: ServerResponse): void {
  const { socket } = res;
  // Without a socket the answers to earlier requests on the connection come first.
  if (res.headersSent || socket === null || req.httpVersionMinor === 0) return;
  // node:http closes the connection after an answer to an expectation that it has not seen met.
  if (interim.statusCode === 100) {
    res.writeContinue();
    return;
  }
  let head = `HTTP/1.1 ${interim.statusCode} ${interim.statusMessage}\r\n`;
  for (const [name, value] of fieldPairs(endToEndAnswer(interim.rawHeaders))) head += `${name}: ${value}\r\n`;
  socket.write(`${head}\r\n`, 'latin1');
}

function pathOf({ basePath }: Upstream, { target }: Addressed): string {
  return target === '*' ? target : basePath + target;
}

/** The options of `http.request` that http-proxy-3 must not change; see {@link Passthrough}. */
function requestOptions(upstream: Upstream, address: Addressed, headers: RawHeaders): object {
  const path = pathOf(upstream, address);
  return {
    maxHeaderSize,
    get path() {
      return path;
    },
    set path(_normalised: string) {},
    get headers() {
      return headers;
    },
    set headers(_parsed: unknown) {},
  };
}

/**
 * http-proxy-3 writes the answer to a handshake from the parsed, lower-cased header object; it gets one with the case and
 * the duplicates of the wire. Hop-by-hop fields of an answer that is no upgrade go, and the framing is left to it.
 */
function keepCase(proxyReq: ClientRequest): void {
  proxyReq.prependListener('upgrade', (proxyRes: IncomingMessage) => {
    proxyRes.headers = grouped(proxyRes.rawHeaders);
  });
  proxyReq.prependListener('response', (proxyRes: IncomingMessage) => {
    const { 'content-length': length } = proxyRes.headers;
    const kept = grouped(endToEndAnswer(proxyRes.rawHeaders).filter(notLength));
    proxyRes.headers = { ...kept, connection: 'close', ...(length !== undefined && { 'content-length': length }) };
  });
}

function notLength(_text: string, index: number, flat: readonly string[]): boolean {
  return flat[index - (index % 2)]!.toLowerCase() !== 'content-length';
}

function grouped(flat: readonly string[]): Record<string, string & string[]> {
  const groups: OutgoingHttpHeaders = {};
  for (const [name, value] of fieldPairs(flat)) {
    const before = groups[name];
    groups[name] = before === undefined ? value : [before, value].flat().map(String);
  }
  return groups as Record<string, string & string[]>;
}
