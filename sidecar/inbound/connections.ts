import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { AddressRefused, isPublicAddress, lookupPublic } from '../http/public-address.ts';
import type { Target } from './target.ts';

/** How long a connection may rest before it is closed, ms. */
const IDLE_LIMIT = 1_000;
/** How long it is remembered that the service closes idle connections earlier, ms. */
const CAUTION = 60_000;

/** An established connection to the service (TLS included), used by one exchange at a time. */
export interface Connection {
  readonly socket: Socket;
  /** Nothing has been exchanged on it yet. */
  readonly fresh: boolean;
}

interface Pooled {
  readonly socket: Socket;
  fresh: boolean;
  /** Bytes, or the end, are awaited: an exchange runs. */
  busy: boolean;
  /** In the pool since, ms of the process's clock. */
  since: number;
}

/**
 * The connections to one service.
 *
 * An attempt gets an *established* connection, so what fails before proves that nothing was sent. What remains is the
 * keep-alive race: the service may close a resting connection just as a request is written to it, and nobody can tell
 * then whether the request was read (RFC 9112 §9.3.1). For a call that is not idempotent that would be a dead letter.
 * So connections rest for one second at most, less than any common server's limit; and where the service closes one
 * earlier still, all are trusted only half as long from then on, for a minute, down to one request per connection.
 */
export class Connections {
  readonly #target: Target;
  readonly #connectLimit: number;
  readonly #all = new Set<Pooled>();
  /** The most recently used last; it is taken first, so that surplus ones grow old. */
  readonly #resting: Pooled[] = [];
  readonly #connecting = new Set<Socket>();
  #idleLimit = IDLE_LIMIT;
  #cautiousUntil = 0;
  #sweep: NodeJS.Timeout | undefined;
  #keeping = true;
  #connectable = true;

  /** @param connectLimit ms that name resolution, connection and TLS handshake may take together */
  constructor(target: Target, connectLimit: number) {
    this.#target = target;
    this.#connectLimit = connectLimit;
  }

  /** A connection that rests, if there is one that can be trusted. Give it back with {@link restore}, or use it up. */
  rested(): Connection | undefined {
    const now = performance.now();
    if (now > this.#cautiousUntil) this.#idleLimit = IDLE_LIMIT;
    for (let pooled = this.#resting.pop(); pooled !== undefined; pooled = this.#resting.pop()) {
      if (now - pooled.since < this.#idleLimit && isUsable(pooled.socket)) return pooled;
      this.#drop(pooled);
    }
    return undefined;
  }

  /**
   * Makes a new connection.
   * @throws Error when it cannot be established: nothing was sent
   */
  establish(): Promise<Connection> {
    const { host, port, tls, publicOnly } = this.#target;
    const { promise, resolve, reject } = Promise.withResolvers<Connection>();
    if (!this.#connectable) {
      reject(new Error('the sidecar is stopping'));
      return promise;
    }
    if (publicOnly === true && isIP(host) !== 0 && !isPublicAddress(host)) {
      reject(new AddressRefused(host, [host]));
      return promise;
    }
    const lookup = publicOnly === true ? { lookup: lookupPublic } : undefined;
    const options = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: 30_000, ...lookup };
    const socket = tls === undefined ? connectTcp(options) : connectTls({ ...tls, ...options });
    this.#connecting.add(socket);
    const limit = setTimeout(() => {
      socket.destroy(new Error(`no connection within ${this.#connectLimit} ms`));
    }, this.#connectLimit);
    const failed = (error: Error) => {
      clearTimeout(limit);
      this.#connecting.delete(socket);
      reject(error);
    };
    // A handshake that the other side cuts short may end in a close without an error.
    const closed = () => failed(new Error('the connection was closed before it was established'));
    socket.once('error', failed);
    socket.once('close', closed);
    socket.once(tls === undefined ? 'connect' : 'secureConnect', () => {
      clearTimeout(limit);
      this.#connecting.delete(socket);
      socket.off('error', failed);
      socket.off('close', closed);
      resolve(this.#admit(socket));
    });
    return promise;
  }

  /** To be called right before the request is handed over: from now on the exchange owns what arrives. */
  engage(connection: Connection): void {
    const pooled = connection as Pooled;
    pooled.busy = true;
  }

  /** Takes back a connection that was not used after all. */
  restore(connection: Connection): void {
    this.#rest(connection as Pooled);
  }

  /** A request on a used connection got no answer at all: the service may have closed it before it came. */
  distrust(): void {
    this.#learn(0);
  }

  /** What the service says of its own limit (`Keep-Alive: timeout=N`), ms. */
  heed(limit: number): void {
    if (limit <= IDLE_LIMIT) this.#learn(limit);
  }

  /** Forgets what was learned: the service was away and may be another one now. */
  trust(): void {
    this.#idleLimit = IDLE_LIMIT;
  }

  /** Keeps no connection beyond its exchange any more, as befits a target that is no longer current. */
  retire(): void {
    this.#keeping = false;
    clearTimeout(this.#sweep);
    for (const pooled of this.#resting.splice(0)) this.#drop(pooled);
  }

  /** Makes no new connection any more and breaks off those that are being made; exchanges go on. */
  stop(): void {
    this.retire();
    this.#connectable = false;
    for (const socket of this.#connecting) socket.destroy(new Error('the sidecar is stopping'));
  }

  /** Closes everything, the busy connections too. */
  destroy(): void {
    this.stop();
    for (const pooled of this.#all) pooled.socket.destroy();
  }

  #admit(socket: Socket): Pooled {
    const pooled: Pooled = { socket, fresh: true, busy: false, since: performance.now() };
    this.#all.add(pooled);
    // Anything that arrives while no request is under way answers nothing; it must not answer the next request.
    socket.on('data', () => {
      if (!pooled.busy) this.#drop(pooled);
    });
    const ended = () => this.#ended(pooled);
    socket.on('end', ended).on('error', ended).on('close', ended);
    // The HTTP client says so when the answer is complete and the service keeps the connection.
    socket.on('free', () => {
      pooled.fresh = false;
      this.#rest(pooled);
    });
    return pooled;
  }

  #rest(pooled: Pooled): void {
    pooled.busy = false;
    if (!this.#keeping || this.#idleLimit <= 0 || !isUsable(pooled.socket)) return this.#drop(pooled);
    pooled.since = performance.now();
    this.#resting.push(pooled);
    this.#sweep ??= setTimeout(() => this.#closeOld(), IDLE_LIMIT);
  }

  #closeOld(): void {
    this.#sweep = undefined;
    const eldest = performance.now() - this.#idleLimit;
    const young = this.#resting.findIndex((pooled) => pooled.since > eldest);
    for (const pooled of this.#resting.splice(0, young === -1 ? this.#resting.length : young)) this.#drop(pooled);
    if (this.#resting.length > 0) this.#sweep = setTimeout(() => this.#closeOld(), IDLE_LIMIT / 2);
  }

  #drop(pooled: Pooled): void {
    this.#forget(pooled);
    pooled.socket.destroy();
  }

  /** The other side closed it, or it failed. */
  #ended(pooled: Pooled): void {
    if (!this.#all.has(pooled)) return;
    if (!pooled.busy && !pooled.fresh) this.#learn(performance.now() - pooled.since);
    this.#forget(pooled);
    if (!pooled.busy) pooled.socket.destroy();
  }

  #forget(pooled: Pooled): void {
    this.#all.delete(pooled);
    const place = this.#resting.indexOf(pooled);
    if (place !== -1) this.#resting.splice(place, 1);
  }

  #learn(lifetime: number): void {
    this.#idleLimit = Math.min(this.#idleLimit, Math.floor(lifetime / 2));
    this.#cautiousUntil = performance.now() + CAUTION;
  }
}

function isUsable(socket: Socket): boolean {
  return !socket.destroyed && socket.writable && !socket.readableEnded;
}

/** Whether the connection can still be written to, as far as this side knows. */
export function isAlive(connection: Connection): boolean {
  return isUsable(connection.socket);
}
