import type { Msg, MsgHdrs } from '@nats-io/transport-node';
import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Connection } from './connection.ts';

/** After this long without an acknowledgement a message is sent again, ms. */
const RESEND_AFTER = 2_000;
/** Pause before a message that the server refused for now is sent again, ms. */
const RETRY_AFTER = 250;
const SWEEP = 250;
/** From so many sends on that no stream took, there is none. */
const SENDS_WITHOUT_STREAM = 4;
const STOPPING = 'the sidecar is stopping';

/** Error codes of the JetStream API that decide; all others are passing trouble. */
const WRONG_LAST_SEQUENCE = 10071;
const WRONG_LAST_SEQUENCE_IN_FLIGHT = 10164;
const MESSAGE_TOO_LARGE = 10054;

export type Acknowledgement =
  | { readonly kind: 'stored'; readonly seq: number; readonly duplicate: boolean; readonly resent: boolean }
  /** The expected last sequence of the subject was another: somebody else stored first, or an earlier try of ours did. */
  | { readonly kind: 'conflict'; readonly resent: boolean };

/** The server will never take this message. */
export class MessageRefused extends Error {
  override readonly name = 'MessageRefused';
}

export interface Publication {
  readonly subject: string;
  readonly payload: Uint8Array;
  readonly headers?: MsgHdrs;
  /**
   * `now`: refuse with {@link BrokerUnavailable} where it is certain that nothing was stored. `keep`: go on until it is stored.
   * Either way a message whose fate is unknown is sent again, after a reconnect at once, until the truth is known.
   */
  readonly patience: 'now' | 'keep';
  /** Makes the stream; called when no stream listens on the subject. */
  ensureStream(): Promise<void>;
  /** The headers from the second time on that it is sent; default: the same. They can say that it may be stored already. */
  resentHeaders?(): MsgHdrs;
}

interface Pending extends Publication {
  resolve(ack: Acknowledgement): void;
  reject(error: Error): void;
  sentAt: number;
  sends: number;
  /** An earlier send may have been stored without our knowing. */
  doubtful: boolean;
  /** Do not send before this, ms of `performance.now()`; 0: sent and waiting. */
  notBefore: number;
}

interface AckReply {
  readonly seq?: number;
  readonly duplicate?: boolean;
  readonly error?: { readonly code: number; readonly err_code?: number; readonly description?: string };
}

/**
 * Publishes to streams and waits for the acknowledgement, over lost connections and restarted servers.
 *
 * The library's own publish is not used for two reasons: it cannot tell "certainly not stored" from "unknown", which is what
 * decides whether a caller may be told 503; and it gives up by a timer per message where a reconnect is the moment to act
 * (research: jetstream.md §3.3).
 */
export class Publisher {
  readonly #connection: Connection;
  readonly #report: (error: Error) => void;
  readonly #inbox: string;
  readonly #pending = new LinkedHashMap<string, Pending>();
  #next = 0;
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(connection: Connection, report: (error: Error) => void) {
    this.#connection = connection;
    this.#report = report;
    this.#inbox = connection.createInbox();
    connection.subscribe(`${this.#inbox}.*`, (msg) => this.#settle(msg));
    connection.onUp(() => this.#resendAll());
    connection.onDenied((subject, error) => this.#refuse(subject, error));
  }

  get pending(): number {
    return this.#pending.size;
  }

  /**
   * @throws {BrokerUnavailable} with patience `now`: nothing was stored and nothing will be; with either: this is closed
   * @throws {MessageRefused} too large for this server
   */
  publish(publication: Publication): Promise<Acknowledgement> {
    if (this.#closed) return Promise.reject(new BrokerUnavailable(STOPPING));
    if (publication.patience === 'now' && !this.#connection.connected) {
      return Promise.reject(new BrokerUnavailable(this.#connection.status.detail ?? 'not connected'));
    }
    return new Promise((resolve, reject) => {
      const token = (this.#next++).toString(36);
      const entry: Pending = { ...publication, resolve, reject, sentAt: 0, sends: 0, doubtful: false, notBefore: 0 };
      this.#pending.set(token, entry);
      this.#send(token, entry);
      this.#sweep ??= setInterval(() => this.#lookAfter(), SWEEP);
    });
  }

  #send(token: string, entry: Pending): void {
    if (!this.#connection.connected) return;
    const headers = (entry.sends > 0 ? entry.resentHeaders?.() : undefined) ?? entry.headers;
    entry.sends++;
    entry.sentAt = performance.now();
    entry.notBefore = 0;
    const options = { reply: `${this.#inbox}.${token}`, ...(headers !== undefined && { headers }) };
    this.#connection.send(entry.subject, entry.payload, options, (cause) => {
      this.#finish(token);
      entry.reject(new MessageRefused(cause.message, { cause }));
    });
  }

  #finish(token: string): void {
    this.#pending.delete(token);
    if (this.#pending.size === 0 && this.#sweep !== undefined) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }

  #settle(msg: Msg): void {
    const token = msg.subject.slice(this.#inbox.length + 1);
    const entry = this.#pending.get(token);
    if (entry === undefined) return;
    if (msg.headers?.code === 503) {
      this.#missingStream(token, entry);
      return;
    }
    let reply: AckReply;
    try {
      reply = msg.json();
    } catch (error) {
      this.#again(token, entry, new Error(`unreadable acknowledgement for ${entry.subject}`, { cause: error }));
      return;
    }
    if (reply.error === undefined && reply.seq !== undefined) {
      this.#finish(token);
      entry.resolve({ kind: 'stored', seq: reply.seq, duplicate: reply.duplicate === true, resent: entry.sends > 1 });
      return;
    }
    const code = reply.error?.err_code;
    if (code === WRONG_LAST_SEQUENCE || code === WRONG_LAST_SEQUENCE_IN_FLIGHT) {
      this.#finish(token);
      entry.resolve({ kind: 'conflict', resent: entry.sends > 1 });
    } else if (code === MESSAGE_TOO_LARGE) {
      this.#finish(token);
      entry.reject(new MessageRefused(reply.error?.description ?? 'message too large'));
    } else {
      this.#again(token, entry, new Error(`${entry.subject}: ${reply.error?.description ?? 'refused'}`));
    }
  }

  /** No stream listens: it was never made, was deleted, or its leader is being elected. */
  #missingStream(token: string, entry: Pending): void {
    entry.notBefore = Infinity;
    entry.ensureStream().then(
      () => {
        if (this.#pending.get(token) !== entry) return;
        // A stream that was just made may not listen yet, so the refusal counts only when it lasts.
        if (entry.sends === 1) this.#send(token, entry);
        else if (entry.sends < SENDS_WITHOUT_STREAM) entry.notBefore = performance.now() + RETRY_AFTER;
        else this.#again(token, entry, new Error(`no stream takes ${entry.subject}`));
      },
      (error: Error) => this.#again(token, entry, error),
    );
  }

  /** The server drops what this user must not send, and would never acknowledge it. */
  #refuse(subject: string, error: Error): void {
    for (const [token, entry] of this.#pending.entries()) {
      if (entry.subject === subject && entry.notBefore === 0) this.#again(token, entry, error, RESEND_AFTER);
    }
  }

  /** The server answered, and did not store this send. */
  #again(token: string, entry: Pending, error: Error, pause = RETRY_AFTER): void {
    if (this.#pending.get(token) !== entry) return;
    if (entry.patience === 'now' && !entry.doubtful) {
      this.#finish(token);
      entry.reject(new BrokerUnavailable(error.message, { cause: error }));
      return;
    }
    this.#report(error);
    entry.notBefore = performance.now() + pause;
  }

  #lookAfter(): void {
    if (!this.#connection.connected) return;
    const now = performance.now();
    for (const [token, entry] of this.#pending.entries()) {
      if (entry.notBefore > 0) {
        if (now >= entry.notBefore) this.#send(token, entry);
      } else if (now - entry.sentAt >= RESEND_AFTER * Math.min(entry.sends, 5)) {
        entry.doubtful = true;
        this.#send(token, entry);
      }
    }
  }

  #resendAll(): void {
    for (const [token, entry] of this.#pending.entries()) {
      if (entry.sends > 0) entry.doubtful = true;
      if (entry.notBefore !== Infinity) this.#send(token, entry);
    }
  }

  /** Waits until everything is acknowledged or `limitMs` passed; what is left is rejected. */
  async close(limitMs: number): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const end = performance.now() + limitMs;
    while (this.#pending.size > 0 && this.#connection.connected && performance.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    for (const [token, entry] of this.#pending.entries()) {
      this.#finish(token);
      entry.reject(new BrokerUnavailable(STOPPING));
    }
  }
}
