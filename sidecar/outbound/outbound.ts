import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Broker } from '../broker/port.ts';
import type { ListenAddress, OutboundConfig } from '../config/config.ts';
import { readRequestFacts, type RequestFacts } from '../http/headers.ts';
import { addressOf, isReserved, type Addressed } from '../http/target.ts';
import { compileRoutes, knownCallees, type Router } from '../policy/route.ts';
import { trouble } from '../telemetry/channels.ts';
import { Alarms } from './alarms.ts';
import { malformed, problem, strangeCoding, type Reply } from '../http/answer.ts';
import { CallResource } from './call-resource.ts';
import { DurableCalls } from './durable-calls.ts';
import { endLinger, Exchange, type ExchangeContext } from './exchange.ts';
import { Holds } from './holds.ts';
import { Listener, type ListenerHandlers } from './listener.ts';
import { Passthrough } from './passthrough.ts';
import { refuse } from './refusal.ts';
import { openTunnel } from './tunnel.ts';
import { Upstreams } from './upstreams.ts';

/** After the last answers are written their bytes may need this long to leave, ms. */
const flushTime = 500;
/** A caller that neither sends what it has announced nor reads what it is sent for this long is given up, ms. */
const patienceWithCallers = 60_000;

/** The calls that the service makes. */
export interface Outbound {
  /** Opens the listeners. @throws {Error} that names the key and the address of the one that cannot be opened */
  open(): Promise<void>;
  /** Applies another configuration, live; on failure the old one goes on. @throws {Error} as `open` */
  reconfigure(config: OutboundConfig): Promise<void>;
  /**
   * Takes no new calls and lets held ones end.
   * @param limitMs after this long those that still wait are answered `shutting-down`; their calls go on
   */
  drain(limitMs: number): Promise<void>;
  /** `host:port` of each open listener. */
  addresses(): string[];
  /** Callers whose connection is kept open. */
  held(): number;
}

export interface OutboundOptions {
  readonly service: string;
  readonly config: OutboundConfig;
  readonly broker: Broker;
  /** A caller that stands still in the middle of its request or its answer is given up after this, ms. Default a minute. */
  readonly stallLimit?: number;
  /** A caller whose head is not complete after this is given up, however steadily it sends, ms. Default a minute. */
  readonly headLimit?: number;
}

export function createOutbound(options: OutboundOptions): Outbound {
  return new OutboundSide(options);
}

interface Opened {
  readonly listener: Listener;
  /** The host that every request here is for. */
  host: string | undefined;
}

class OutboundSide implements Outbound {
  #config: OutboundConfig;
  #router: Router;
  #upstreams: Upstreams;
  #draining = false;
  readonly #headLimit: number;
  readonly #alarms = new Alarms();
  readonly #holds: Holds;
  readonly #calls: DurableCalls;
  readonly #resource: CallResource;
  readonly #passthrough: Passthrough;
  readonly #opened = new Map<string, Opened>();
  readonly #closing = new Set<Listener>();
  /** The exchange under way on a connection. */
  readonly #exchanges = new WeakMap<Duplex, Exchange>();
  readonly #prepare: (config: OutboundConfig) => void;
  readonly #context: ExchangeContext;

  constructor(options: OutboundOptions) {
    const { service, config, broker, stallLimit = patienceWithCallers, headLimit = patienceWithCallers } = options;
    this.#headLimit = headLimit;
    this.#config = config;
    this.#router = compileRoutes(config.routes);
    this.#upstreams = new Upstreams(config.hosts);
    const log = broker.caller(service);
    this.#holds = new Holds(config.limits);
    this.#passthrough = new Passthrough({
      alarms: this.#alarms,
      draining: () => this.#draining,
      upstreams: () => this.#upstreams,
      isOwn: ({ hostname, port }) => [...this.#opened.values()].some(({ listener }) => listener.isAt(hostname, port)),
    });
    this.#calls = new DurableCalls({
      service,
      broker,
      log,
      events: broker.publisher(service),
      alarms: this.#alarms,
      holds: this.#holds,
      stallLimit,
      passThrough: (exchange, body) => this.#passthrough.forward(exchange, body),
    });
    this.#resource = new CallResource(log, this.#alarms, this.#holds);
    const isDraining = () => this.#draining;
    const holds = this.#holds;
    this.#context = {
      alarms: this.#alarms,
      stallLimit,
      unread: (res, bytes) => holds.keepUnread(res, bytes),
      bodies: broker.bodies,
      get draining() {
        return isDraining();
      },
    };
    this.#prepare = ({ routes }) => log.prepare(knownCallees(routes));
  }

  async open(): Promise<void> {
    await this.#listen(this.#config);
    this.#prepare(this.#config);
  }

  async reconfigure(config: OutboundConfig): Promise<void> {
    const router = compileRoutes(config.routes);
    const upstreams = new Upstreams(config.hosts);
    await this.#listen(config);
    this.#config = config;
    this.#router = router;
    this.#upstreams = upstreams;
    this.#holds.limits = config.limits;
    this.#prepare(config);
  }

  /** Opens what is new, and only then closes what is gone. */
  async #listen(config: OutboundConfig): Promise<void> {
    const wanted = new Map<string, { name: string; listen: ListenAddress; host: string | undefined }>();
    if (config.listen !== undefined) {
      wanted.set(keyOf(config.listen, 'listen'), { name: 'outbound.listen', listen: config.listen, host: undefined });
    }
    for (const { listen, host } of config.ports) {
      wanted.set(keyOf(listen, host), { name: `outbound.ports for ${host}`, listen, host });
    }
    const added = new Map<string, Opened>();
    try {
      for (const [key, { name, listen, host }] of wanted) {
        if (this.#opened.has(key)) continue;
        const entry: Opened = { listener: this.#listener(name, listen, () => entry.host), host };
        await entry.listener.open();
        added.set(key, entry);
      }
    } catch (error) {
      for (const { listener } of added.values()) this.#retire(listener);
      throw error;
    }
    for (const [key, entry] of this.#opened) {
      const still = wanted.get(key);
      if (still === undefined) {
        this.#opened.delete(key);
        this.#retire(entry.listener);
      } else {
        entry.host = still.host;
      }
    }
    for (const [key, entry] of added) this.#opened.set(key, entry);
  }

  #retire(listener: Listener): void {
    this.#closing.add(listener);
    listener.stopListening().then(
      () => this.#closing.delete(listener),
      (error: unknown) => trouble.publish({ where: 'outbound', error: error as Error }),
    );
  }

  #listener(name: string, listen: ListenAddress, host: () => string | undefined): Listener {
    const handlers: ListenerHandlers = {
      request: (req, res, expectsContinue) => this.#request(req, res, expectsContinue, host()),
      upgrades: (req) => this.#upgrades(req, host()),
      upgrade: (req, socket, head) => this.#upgrade(req, socket, head, host()),
      connect: (req, socket, head) => this.#connect(req, socket, head),
      isAnswered: (socket) => this.#exchanges.get(socket)?.res.closed,
      failed: (socket, reply) => this.#failed(socket, reply),
    };
    return new Listener(name, listen, handlers, this.#headLimit);
  }

  #request(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean, host: string | undefined): void {
    if (this.#exchanges.get(req.socket)?.isLast === true) {
      // It came behind one that was refused, so that nobody knows whether it was meant as a request.
      req.resume();
      return;
    }
    const facts = readRequestFacts(req.rawHeaders);
    const line = lineOf(req);
    const addressed = addressOf(line, facts, host);
    const address: Addressed =
      'malformed' in addressed
        ? { scheme: 'http', host: '', port: 80, target: line.target, path: line.target }
        : addressed;
    const exchange = new Exchange(this.#context, req, res, { facts, address, expectsContinue });
    this.#exchanges.set(req.socket, exchange);
    if ('malformed' in addressed) exchange.send(malformed(`${sentence(addressed.malformed)}.`));
    else if (req.httpVersionMajor !== 1) exchange.send(malformed('The request line names no version of HTTP.'));
    else if (facts.transferEncoding !== undefined && line.minorVersion === 0) {
      // Its framing cannot be trusted (RFC 9112 §6.1).
      exchange.send(malformed('An HTTP/1.0 request has no Transfer-Encoding.'));
    } else if (facts.transferEncoding !== undefined && facts.transferEncoding.trim() !== 'chunked') {
      exchange.send(strangeCoding(facts.transferEncoding));
    } else this.#dispatch(exchange, address);
  }

  #dispatch(exchange: Exchange, address: Addressed): void {
    if (isReserved(address.path)) {
      this.#resource.handle(exchange);
      return;
    }
    if (this.#draining) {
      exchange.send(
        problem('shutting-down', {
          detail: 'The sidecar is stopping; nothing was accepted.',
          retryAfter: 1000,
          close: true,
        }),
      );
      return;
    }
    const routed = this.#router({ ...address, method: exchange.method });
    const mode = routed?.route.mode ?? 'passthrough';
    // Whoever reports what is passed through reports this with its route.
    if (mode === 'observe') exchange.route = routed?.route.name;
    if (routed !== undefined && mode !== 'passthrough' && mode !== 'observe') this.#calls.handle(exchange, routed);
    else if (routed === undefined && this.#config.unmatched === 'deny')
      exchange.send(notRouted(address, exchange.method));
    else this.#passthrough.forward(exchange);
  }

  /** Only a WebSocket that is passed through; on a durable route an offer to upgrade is ignored, as HTTP allows. */
  #upgrades(req: IncomingMessage, host: string | undefined): boolean {
    if (req.httpVersionMajor !== 1 || req.method !== 'GET' || req.headers.upgrade?.toLowerCase() !== 'websocket')
      return false;
    const address = addressOf(lineOf(req), readRequestFacts(req.rawHeaders), host);
    if ('malformed' in address || isReserved(address.path) || this.#draining) return false;
    const routed = this.#router({ ...address, method: req.method ?? '' });
    if (routed === undefined) return this.#config.unmatched === 'passthrough';
    return routed.route.mode === 'passthrough' || routed.route.mode === 'observe';
  }

  #upgrade(req: IncomingMessage, socket: Duplex, head: Buffer, host: string | undefined): void {
    const facts: RequestFacts = readRequestFacts(req.rawHeaders);
    const address = addressOf(lineOf(req), facts, host);
    if ('malformed' in address) refuse(socket, malformed(`${sentence(address.malformed)}.`));
    // Node before 24.9 does not ask first.
    else if (!this.#upgrades(req, host)) refuse(socket, malformed('The connection cannot change to another protocol.'));
    else this.#passthrough.upgrade(req, socket, head, address, facts);
  }

  #connect(req: IncomingMessage, socket: Duplex, head: Buffer): void {
    if (req.httpVersionMajor !== 1) {
      refuse(socket, malformed('The request line names no version of HTTP.'));
      return;
    }
    if (readRequestFacts(req.rawHeaders).hosts.length > 1) {
      refuse(socket, malformed('The request has more than one Host header.'));
      return;
    }
    if (this.#draining) {
      refuse(socket, problem('shutting-down', { detail: 'The sidecar is stopping.', retryAfter: 1000 }));
      return;
    }
    openTunnel(req.url ?? '', socket, head, this.#upstreams, this.#config.unmatched === 'deny');
  }

  /** What arrives on a connection stopped being HTTP. What came before is still answered, and in order. */
  #failed(socket: Duplex, reply: Reply): void {
    const exchange = this.#exchanges.get(socket);
    if (exchange === undefined || exchange.res.closed) refuse(socket, reply);
    else if (endLinger(exchange.res)) return;
    // The broken request came after this one.
    else if (exchange.req.complete) exchange.res.once('close', () => refuse(socket, reply));
    else if (exchange.over) socket.destroy();
    else exchange.send(reply);
  }

  async drain(limitMs: number): Promise<void> {
    this.#draining = true;
    const listeners = [...[...this.#opened.values()].map(({ listener }) => listener), ...this.#closing];
    const closed = Promise.all(listeners.map((listener) => listener.stopListening()));
    const quiet = closed.then(() => undefined);
    await withinTime(quiet, limitMs);
    for (const hold of this.#holds.all()) hold.shutDown();
    this.#resource.shutDown();
    await withinTime(quiet, flushTime);
    for (const listener of listeners) listener.destroy();
    await quiet;
    this.#calls.close();
    this.#passthrough.close();
    this.#alarms.close();
  }

  addresses(): string[] {
    return [...this.#opened.values()]
      .map(({ listener }) => listener.address())
      .filter((address) => address !== undefined);
  }

  held(): number {
    return this.#holds.count + this.#resource.waiting;
  }
}

function lineOf(req: IncomingMessage): { method: string; target: string; minorVersion: number } {
  return { method: req.method ?? '', target: req.url ?? '', minorVersion: req.httpVersionMinor };
}

/** What makes two listeners the same one; port 0 is another free port for each. */
function keyOf({ host, port }: ListenAddress, use: string): string {
  return port === 0 ? `${host}:0 ${use}` : `${host}:${port}`;
}

function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function notRouted({ host, path }: Addressed, method: string): Reply {
  const detail = `No route matches ${method} ${host === '' ? 'an unnamed host' : host} ${path}, and outbound.unmatched is deny.`;
  return problem('not-routed', { detail });
}

/** Resolves with `work`, or after `limitMs` without it. */
async function withinTime(work: Promise<void>, limitMs: number): Promise<void> {
  const limit = Promise.withResolvers<void>();
  const timer = setTimeout(limit.resolve, limitMs);
  await Promise.race([work, limit.promise]);
  clearTimeout(timer);
}
