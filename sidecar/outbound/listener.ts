import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Socket, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { ListenAddress } from '../config/config.ts';
import { malformed, strangeCoding, type Reply } from '../http/answer.ts';
import { isRequestLine, isUnknownMethod, RereadConnection, unreadRequest, type ParserError } from './unknown-method.ts';

/** Room for cookies and tokens; past this a head is answered 431, bytes. */
const maxHeaderSize = 64 * 1024;
/** Longer than the idle time of common clients, so that they close first and never write into a closing connection, ms. */
const keepAliveTimeout = 75_000;

/** What a listener does with what arrives. */
export interface ListenerHandlers {
  request(req: IncomingMessage, res: ServerResponse, expectsContinue: boolean): void;
  /** Whether an `Upgrade` is taken up; where not, the request is an ordinary one (RFC 9110 §7.8). */
  upgrades(req: IncomingMessage): boolean;
  upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  connect(req: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Whether everything that was asked on this socket has been answered; undefined where nothing was asked yet. */
  isAnswered(socket: Duplex): boolean | undefined;
  /** What arrived on this socket is no HTTP; called once. */
  failed(socket: Duplex, reply: Reply): void;
}

/** One address on which the service's calls arrive. */
export class Listener {
  /** How the configuration names it, for errors. */
  readonly #name: string;
  readonly #address: ListenAddress;
  readonly #server: Server;
  /** Connections that left HTTP: tunnels and WebSockets. The server no longer knows them. */
  readonly #detached = new Set<Duplex>();
  /** Connections that the parser gave up on; it says so again for whatever arrives later. */
  readonly #failed = new WeakSet<Duplex>();
  readonly #connections = new Set<Socket>();
  /** What it listens on; asking the system costs a call each time. */
  #bound: AddressInfo | undefined;
  #closed: Promise<void> | undefined;

  /** @param headLimit a connection that sends no whole head within this is closed (slowloris), ms */
  constructor(name: string, address: ListenAddress, handlers: ListenerHandlers, headLimit: number) {
    this.#name = name;
    this.#address = address;
    const options = {
      // The check is made by us, so that the refusal is a problem like all others.
      requireHostHeader: false,
      maxHeaderSize,
      headersTimeout: headLimit,
      // How often it is looked at.
      connectionsCheckingInterval: headLimit / 2,
      keepAliveTimeout,
      // A slow upload is not an error; one that stops is noticed by whoever reads it.
      requestTimeout: 0,
      noDelay: true,
      shouldUpgradeCallback: (req: IncomingMessage) => handlers.upgrades(req),
    };
    const request = (req: IncomingMessage, res: ServerResponse, expectsContinue: boolean) => {
      if (req.socket instanceof RereadConnection) req.socket.restoreMethod(req);
      handlers.request(req, res, expectsContinue);
    };
    this.#server = createServer(options, (req, res) => request(req, res, false));
    this.#server.on('connection', (socket: Socket) => {
      this.#connections.add(socket);
      socket.once('close', () => this.#connections.delete(socket));
    });
    // Every field counts: a header that the library dropped would be one that the callee never sees.
    this.#server.maxHeadersCount = 0;
    this.#server.on('checkContinue', (req, res) => request(req, res, true));
    this.#server.on('checkExpectation', (req, res) => request(req, res, false));
    this.#server.on('connect', (req, socket, head) => {
      this.#detach(socket);
      handlers.connect(req, socket, head);
    });
    this.#server.on('upgrade', (req, socket, head) => {
      this.#detach(socket);
      handlers.upgrade(req, socket, head);
    });
    this.#server.on('clientError', (error: NodeJS.ErrnoException & ParserError, socket) => {
      if (this.#failed.has(socket)) return;
      this.#failed.add(socket);
      if (isUnknownMethod(error) && this.#reread(error, socket, handlers.isAnswered(socket))) return;
      const reply = refusalOf(error);
      if (reply === undefined || !socket.writable) socket.destroy();
      else handlers.failed(socket, reply);
    });
  }

  /** Has a request whose method the parser does not know read once more. */
  #reread(error: ParserError, socket: Duplex, isAnswered: boolean | undefined): boolean {
    if (!(socket instanceof Socket || socket instanceof RereadConnection)) return false;
    const isFirst = socket instanceof Socket && socket.bytesRead === error.rawPacket?.length;
    if (isAnswered !== true && !(isAnswered === undefined && isFirst)) return false;
    const unread = unreadRequest(error, isFirst);
    if (unread === undefined) return false;
    this.#server.emit('connection', new RereadConnection(socket, unread));
    return true;
  }

  #detach(socket: Duplex): void {
    this.#detached.add(socket);
    // Without a listener of its own a reset connection would end the process.
    socket.on('error', () => socket.destroy()).once('close', () => this.#detached.delete(socket));
  }

  /** @throws {Error} naming the key and the address when it cannot be opened */
  open(): Promise<void> {
    const { host, port } = this.#address;
    return new Promise((resolve, reject) => {
      const failed = (cause: NodeJS.ErrnoException) => {
        const why = cause.code === 'EADDRINUSE' ? 'the port is already taken' : cause.message;
        reject(new Error(`${this.#name}: cannot listen on ${shown(host, port)}: ${why}`, { cause }));
      };
      this.#server.once('error', failed);
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', failed);
        this.#bound = this.#server.address() as AddressInfo;
        resolve();
      });
    });
  }

  /** `host:port` as it is listened on; undefined while it is not. */
  address(): string | undefined {
    const bound = this.#bound;
    return bound === undefined ? undefined : shown(bound.address, bound.port);
  }

  /** Whether this is where a connection to `hostname:port` would end. */
  isAt(hostname: string, port: number): boolean {
    const bound = this.#bound;
    if (bound?.port !== port) return false;
    const name = hostname.replace(/^\[(.*)\]$/, '$1');
    return name === bound.address || name === 'localhost' || name === '::1' || /^127(?:\.\d+){3}$/.test(name);
  }

  /** Takes no new connections and closes idle ones; resolves when the last one is closed. */
  async stopListening(): Promise<void> {
    this.#bound = undefined;
    if (this.#server.listening) {
      this.#closed = new Promise((resolve) => this.#server.close(() => resolve()));
      // To node:http a connection that has never carried a request is not idle.
      for (const socket of this.#connections) if (socket.bytesRead === 0) socket.destroy();
    }
    await this.#closed;
  }

  /** Cuts off whatever is still open. */
  destroy(): void {
    this.#server.closeAllConnections();
    for (const socket of this.#detached) socket.destroy();
  }
}

function shown(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** The codings of the request that the parser gave up, as far as they came in one packet. */
function codingsIn({ rawPacket, bytesParsed = 0 }: ParserError): string {
  // It gives up in the middle of a field.
  const end = rawPacket?.indexOf('\r\n', bytesParsed) ?? -1;
  const head = rawPacket?.toString('latin1', 0, end < 0 ? undefined : end) ?? '';
  return [...head.matchAll(/^transfer-encoding:(.*)$/gim)].map(([, codings]) => codings).join();
}

/** What the HTTP parser's refusal is to the caller; undefined where nobody is left to be told. */
function refusalOf(error: NodeJS.ErrnoException & ParserError): Reply | undefined {
  const { code = '', reason = error.message } = error;
  if (code === 'ECONNRESET' || code === 'EPIPE') return undefined;
  if (code === 'HPE_HEADER_OVERFLOW') return malformed(`The head of the request is over ${maxHeaderSize} bytes.`, 431);
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return malformed('The head of the request did not arrive in time.', 408);
  // The same code stands for a coding that is not known and for one beside a Content-Length, which is smuggling.
  if (code === 'HPE_INVALID_TRANSFER_ENCODING' && !/content-length/i.test(reason)) {
    return strangeCoding(codingsIn(error));
  }
  if (isUnknownMethod(error) && isRequestLine(error)) {
    const detail = 'An unusual method is taken in one piece, and once the requests before it are answered.';
    return malformed(detail, 501);
  }
  return malformed(`The request is malformed: ${reason}.`);
}
