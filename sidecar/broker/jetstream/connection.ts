import { setTimeout as pause } from 'node:timers/promises';
import { readFileSync } from 'node:fs';
import {
  connect,
  createInbox,
  credsAuthenticator,
  PermissionViolationError,
  type Msg,
  type NatsConnection,
  type NodeConnectionOptions,
  type PublishOptions,
  type Subscription,
} from '@nats-io/transport-node';
import { LinkedList } from '../../collections/linked-list.ts';
import type { BrokerConfig } from '../../config/schema.ts';
import type { BrokerStatus } from '../port.ts';

type NatsConfig = Extract<BrokerConfig, { kind: 'nats' }>;

/** Time between two tries to reach the broker, ms. Short, because a call may be waiting. */
const RECONNECT_WAIT = 250;
/** How long closing waits for a server that takes what is buffered, ms; a frozen one would be waited for until the pings fail. */
const FLUSH_LIMIT = 1_000;
/** A silent connection is given up after two of these, ms; the library's two minutes would hold calls far too long. */
const PING_INTERVAL = 5_000;

/** A message that waits for the end of the event loop's turn. */
interface Outgoing {
  readonly subject: string;
  readonly payload: Uint8Array | string;
  readonly options: PublishOptions | undefined;
  readonly refused: ((error: Error) => void) | undefined;
}

/** A subscription that outlives connections. */
interface Listening {
  readonly subject: string;
  readonly handle: (msg: Msg) => void;
  readonly queue?: string;
  current?: Subscription;
}

/**
 * One NATS connection that is never given up: it may be asked for while the broker is away, and it comes back by itself,
 * also after errors that the library takes for final (authorisation, for one, is often just being rolled out).
 */
export class Connection {
  readonly #config: NatsConfig;
  readonly #name: string;
  readonly #inboxPrefix: string;
  readonly #report: (error: Error) => void;
  readonly #subscriptions = new LinkedList<Listening>();
  readonly #up = new Set<() => void>();
  readonly #listeners = new Set<(status: BrokerStatus) => void>();
  readonly #denied = new Set<(subject: string, error: Error) => void>();
  readonly #closing = new AbortController();
  #outgoing: Outgoing[] = [];
  #nc: NatsConnection | undefined;
  #status: BrokerStatus = { connected: false, detail: 'not connected yet' };
  #running: Promise<void> | undefined;
  /** Counts the connections that have stood so far: another number means that there was a gap. */
  generation = 0;
  /** When the connection was last seen to stand, ms of `performance.now()`. */
  lastSeen = -Infinity;

  /** @param owner whose inboxes these are: a service, and no other may be allowed to read them */
  constructor(config: NatsConfig, name: string, report: (error: Error) => void, owner = name) {
    this.#config = config;
    this.#name = name;
    this.#inboxPrefix = inboxPrefix(config.namespace, owner);
    this.#report = report;
  }

  get status(): BrokerStatus {
    return this.#status;
  }

  get connected(): boolean {
    return this.#status.connected;
  }

  /** The live connection; undefined while there is none. */
  get nc(): NatsConnection | undefined {
    return this.#status.connected ? this.#nc : undefined;
  }

  /** Version of the connected server, or of the last one. */
  get serverVersion(): string {
    return this.#nc?.info?.version ?? 'unknown';
  }

  get maxPayload(): number {
    return this.#nc?.info?.max_payload ?? 1024 * 1024;
  }

  start(): void {
    this.#running ??= this.#run();
  }

  onStatus(listener: (status: BrokerStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Calls `listener` each time a connection stands, the first time included (at once if it stands now). */
  onUp(listener: () => void): () => void {
    this.#up.add(listener);
    if (this.connected) listener();
    return () => this.#up.delete(listener);
  }

  /** A new subject for answers that only this connection's user needs to read. */
  createInbox(): string {
    return createInbox(this.#inboxPrefix);
  }

  /** Calls `listener` each time the server refuses a message because this user must not publish to its subject. */
  onDenied(listener: (subject: string, error: Error) => void): void {
    this.#denied.add(listener);
  }

  /**
   * Sends a message once the event loop has gone through what has arrived: all that is sent in one of its turns goes out with
   * one write, and the server handles it at one go. Without a connection the message is dropped.
   * @param refused told why the library will not put it on the wire, such as too large for this server
   */
  send(
    subject: string,
    payload: Uint8Array | string,
    options?: PublishOptions,
    refused?: (error: Error) => void,
  ): void {
    if (this.#outgoing.push({ subject, payload, options, refused }) === 1) setImmediate(() => this.#sendAll());
  }

  #sendAll(): void {
    const messages = this.#outgoing;
    this.#outgoing = [];
    const { nc } = this;
    if (nc === undefined) return;
    for (const { subject, payload, options, refused } of messages) {
      try {
        nc.publish(subject, payload, options);
      } catch (error) {
        if (nc.isClosed()) return;
        (refused ?? this.#report)(error as Error);
      }
    }
  }

  /**
   * Subscribes for as long as this object lives, over any number of connections. What `handle` throws is reported.
   * @param queue of all subscribers that name the same one, one gets each message
   */
  subscribe(subject: string, handle: (msg: Msg) => void, queue?: string): () => void {
    const entry: Listening = { subject, handle, ...(queue !== undefined && { queue }) };
    const place = this.#subscriptions.add(entry);
    if (this.#nc !== undefined && !this.#nc.isClosed()) this.#attach(entry, this.#nc);
    return () => {
      place.remove();
      if (entry.current !== undefined && !entry.current.isClosed()) entry.current.unsubscribe();
    };
  }

  #attach(entry: Listening, nc: NatsConnection): void {
    entry.current = nc.subscribe(entry.subject, {
      ...(entry.queue !== undefined && { queue: entry.queue }),
      callback: (error, msg) => {
        if (error !== null)
          this.#report(new Error(`subscription to ${entry.subject}: ${error.message}`, { cause: error }));
        else this.#handle(entry, msg);
      },
    });
  }

  /** Anyone may send anything to a subject; an error in the library's callback would end the whole connection. */
  #handle(entry: Listening, msg: Msg): void {
    try {
      entry.handle(msg);
    } catch (cause) {
      this.#report(new Error(`message on ${entry.subject}: ${(cause as Error).message}`, { cause }));
    }
  }

  async #run(): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        const nc = await connect(this.#options());
        if (this.#closing.signal.aborted) {
          await nc.close();
          return;
        }
        this.#nc = nc;
        for (const entry of this.#subscriptions.values()) this.#attach(entry, nc);
        this.#setUp();
        await this.#follow(nc);
      } catch (error) {
        this.#setDown(error instanceof Error ? error.message : String(error));
      }
      await pause(RECONNECT_WAIT, undefined, { signal: this.#closing.signal }).catch(() => undefined);
    }
  }

  /** Resolves when this connection is closed for good. */
  async #follow(nc: NatsConnection): Promise<void> {
    const statuses = (async () => {
      for await (const status of nc.status()) {
        if (status.type === 'disconnect') this.#setDown('the connection to the broker was lost');
        else if (status.type === 'reconnect') this.#setUp();
        else if (status.type === 'ping' && status.pendingPings <= 1) this.lastSeen = performance.now();
        else if (status.type === 'error') this.#failed(status.error);
      }
    })();
    const error = await nc.closed();
    await statuses;
    this.#setDown(error instanceof Error ? error.message : 'the connection to the broker was closed');
  }

  #failed(error: Error): void {
    this.#report(error);
    if (error instanceof PermissionViolationError && error.operation === 'publish')
      for (const listener of this.#denied) listener(error.subject, error);
  }

  #options(): NodeConnectionOptions {
    const { servers, credentials, tls } = this.#config;
    const plain: string[] = [];
    let user: string | undefined;
    let pass: string | undefined;
    let secure = tls !== undefined;
    for (const server of servers) {
      const url = new URL(server);
      if (url.protocol === 'tls:') secure = true;
      if (url.username !== '') user = decodeURIComponent(url.username);
      if (url.password !== '') pass = decodeURIComponent(url.password);
      plain.push(url.host);
    }
    return {
      servers: plain,
      name: this.#name,
      ...(user !== undefined && (pass === undefined ? { token: user } : { user, pass })),
      ...(credentials !== undefined && { authenticator: credsAuthenticator(readFileSync(credentials)) }),
      ...(secure && {
        tls: {
          ...(tls?.ca !== undefined && { caFile: tls.ca }),
          ...(tls?.cert !== undefined && { certFile: tls.cert }),
          ...(tls?.key !== undefined && { keyFile: tls.key }),
        },
      }),
      maxReconnectAttempts: -1,
      reconnectTimeWait: RECONNECT_WAIT,
      reconnectJitter: 100,
      pingInterval: PING_INTERVAL,
      maxPingOut: 2,
      timeout: 3_000,
      ignoreAuthErrorAbort: true,
      noAsyncTraces: true,
      inboxPrefix: this.#inboxPrefix,
    };
  }

  #setUp(): void {
    this.generation++;
    this.lastSeen = performance.now();
    this.#change({ connected: true });
    for (const listener of this.#up) listener();
  }

  #setDown(detail: string): void {
    if (this.#status.connected) this.lastSeen = performance.now();
    this.#change({ connected: false, detail });
  }

  #change(status: BrokerStatus): void {
    const changed = status.connected !== this.#status.connected;
    this.#status = status;
    if (changed) for (const listener of this.#listeners) listener(status);
  }

  async #flush(nc: NatsConnection): Promise<void> {
    const done = new AbortController();
    const limit = pause(FLUSH_LIMIT, undefined, { signal: done.signal }).catch(() => undefined);
    await Promise.race([nc.flush().catch((error: Error) => this.#report(error)), limit]);
    done.abort();
  }

  /** Sends what is buffered and closes. Safe to call twice. */
  async close(): Promise<void> {
    this.#closing.abort();
    const nc = this.#nc;
    if (nc !== undefined && !nc.isClosed()) {
      this.#sendAll();
      if (this.connected) await this.#flush(nc);
      await nc.close();
    }
    await this.#running;
  }
}

/** Where the answers to one service's questions go: a subtree of its own, so that no other service need be allowed to read it. */
export function inboxPrefix(namespace: string, owner: string): string {
  return `_INBOX_${namespace}_${owner.replaceAll(/[^\w-]/g, '_')}`;
}

/** Whether an error says that the user of this connection may not do something. */
export function isDenied(error: unknown): boolean {
  return (
    error instanceof PermissionViolationError ||
    (error instanceof Error && error.cause instanceof PermissionViolationError)
  );
}
