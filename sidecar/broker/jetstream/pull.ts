import type { Msg } from '@nats-io/transport-node';
import type { Connection } from './connection.ts';

/** How long a pull request may stand, ms. Short, because one that a dying leader took with it is noticed only by this. */
const EXPIRES = 3_000;
/** A request without a word after this is taken for lost, ms. */
const LOST_AFTER = EXPIRES + 2_000;

/**
 * Asks one durable pull consumer for exactly as many messages as there are free slots.
 *
 * The library's `consume()` is not used because it keeps a fixed number of messages in a buffer: those are leased and wait behind
 * the ones that run, while another instance may be idle.
 */
export class Pull {
  readonly #connection: Connection;
  readonly #subject: string;
  readonly #free: () => number;
  readonly #deliver: (msg: Msg) => void;
  readonly #missing: () => void;
  #inbox = '';
  #stopListening: (() => void) | undefined;
  /** Asked for and not yet delivered. */
  #outstanding = 0;
  #lastRequest = 0;
  #active = false;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: {
    connection: Connection;
    stream: string;
    consumer: string;
    free: () => number;
    deliver: (msg: Msg) => void;
    /** The consumer is gone from the server. */
    missing: () => void;
  }) {
    this.#connection = options.connection;
    this.#subject = `$JS.API.CONSUMER.MSG.NEXT.${options.stream}.${options.consumer}`;
    this.#free = options.free;
    this.#deliver = options.deliver;
    this.#missing = options.missing;
  }

  /**
   * Forgets what was asked for: the connection or the consumer is a new one. The inbox is a new one, too, so that a request
   * which the server still remembers has nobody to deliver to.
   */
  renew(): void {
    this.#stopListening?.();
    this.#outstanding = 0;
    this.#inbox = this.#connection.createInbox();
    this.#stopListening = this.#connection.subscribe(this.#inbox, (msg) => {
      // Words of the server about the request have no payload, and an event always has one; headers cost time to read.
      const code = msg.data.length > 0 ? 0 : (msg.headers?.code ?? 0);
      if (code === 0) {
        if (this.#outstanding > 0) this.#outstanding--;
        this.#deliver(msg);
      } else this.#status(code, msg);
    });
  }

  #status(code: number, msg: Msg): void {
    if (code === 100) return;
    const left = msg.headers?.get('Nats-Pending-Messages') ?? '';
    // 408 and some 409 say how much of their request was not delivered; otherwise all that is outstanding is void.
    this.#outstanding = left === '' ? 0 : Math.max(0, this.#outstanding - Number(left));
    if (code === 503 || (code === 404 && /consumer/i.test(msg.headers?.description ?? ''))) this.#missing();
    else if (code === 409 && /deleted/i.test(msg.headers?.description ?? '')) this.#missing();
    else this.request();
  }

  /** Starts asking, or goes on; what was asked for before a pause still stands. */
  resume(): void {
    this.#active = true;
    this.#watch ??= setInterval(() => this.#lookAfter(), 500);
    this.request();
  }

  /** Asks for no more. What was asked for may still arrive. */
  pause(): void {
    this.#active = false;
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** Asks for what is free and not yet asked for; in batches, since each request is a message of its own. */
  request(): void {
    if (!this.#active) return;
    if (!this.#connection.connected) return;
    const free = this.#free();
    const wanted = free - this.#outstanding;
    if (wanted <= 0 || (this.#outstanding > 0 && wanted < Math.max(1, free >> 2))) return;
    this.#outstanding += wanted;
    this.#lastRequest = performance.now();
    const request = `{"batch":${wanted},"expires":${EXPIRES * 1_000_000}}`;
    this.#connection.send(this.#subject, request, { reply: this.#inbox });
  }

  #lookAfter(): void {
    if (this.#outstanding > 0 && performance.now() - this.#lastRequest > LOST_AFTER) this.#outstanding = 0;
    this.request();
  }

  close(): void {
    this.pause();
    this.#stopListening?.();
  }
}
