import type { Msg } from '@nats-io/transport-node';
import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Connection } from './connection.ts';

/** How long an answer is waited for, ms. */
const PATIENCE = 2_000;
const SWEEP = 250;

interface Question {
  readonly subject: string;
  resolve(reply: Msg): void;
  reject(error: Error): void;
  readonly giveUpAt: number;
}

/**
 * Questions that the server answers with one message each, over one subscription.
 *
 * The library's own requests are not used, as each makes two errors with their stacks and a timer, used or not, which is more
 * than half of what a call with a key costs; and because one whose connection is lost waits for its time to pass.
 */
export class Questions {
  readonly #connection: Connection;
  readonly #inbox: string;
  readonly #open = new LinkedHashMap<string, Question>();
  #next = 0;
  #sweep: NodeJS.Timeout | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
    this.#inbox = connection.createInbox();
    connection.subscribe(`${this.#inbox}.*`, (reply) => this.#answered(reply));
    // Neither a question nor its answer survives the connection.
    connection.onStatus(({ connected, detail }) => {
      if (!connected) this.#rejectAll(new BrokerUnavailable(detail ?? 'not connected'));
    });
    connection.onDenied((subject, error) => {
      for (const [token, question] of this.#open.entries())
        if (question.subject === subject) this.#reject(token, error);
    });
  }

  /**
   * @throws {BrokerUnavailable} there is no connection, it was lost, or nobody answered within two seconds
   * @throws {Error} this user must not ask that
   */
  ask(subject: string, payload: string): Promise<Msg> {
    if (!this.#connection.connected) {
      return Promise.reject(new BrokerUnavailable(this.#connection.status.detail ?? 'not connected'));
    }
    return new Promise((resolve, reject) => {
      const token = (this.#next++).toString(36);
      this.#open.set(token, { subject, resolve, reject, giveUpAt: performance.now() + PATIENCE });
      this.#sweep ??= setInterval(() => this.#lookAfter(), SWEEP);
      this.#connection.send(subject, payload, { reply: `${this.#inbox}.${token}` }, (error) =>
        this.#reject(token, error),
      );
    });
  }

  #answered(reply: Msg): void {
    const token = reply.subject.slice(this.#inbox.length + 1);
    const question = this.#open.get(token);
    if (question === undefined) return;
    this.#forget(token);
    question.resolve(reply);
  }

  #lookAfter(): void {
    const now = performance.now();
    for (const [token, { subject, giveUpAt }] of this.#open.entries()) {
      if (now >= giveUpAt) this.#reject(token, new BrokerUnavailable(`no answer to ${subject} within ${PATIENCE} ms`));
    }
  }

  #rejectAll(error: Error): void {
    for (const [token] of this.#open.entries()) this.#reject(token, error);
  }

  #reject(token: string, error: Error): void {
    const question = this.#open.get(token);
    if (question === undefined) return;
    this.#forget(token);
    question.reject(error);
  }

  #forget(token: string): void {
    this.#open.delete(token);
    if (this.#open.size > 0) return;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  /** Leaves nothing that waits. */
  close(): void {
    this.#rejectAll(new BrokerUnavailable('the sidecar is stopping'));
  }
}
