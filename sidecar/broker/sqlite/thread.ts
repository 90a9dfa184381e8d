import { Worker } from 'node:worker_threads';
import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import { BrokerUnavailable } from '../port.ts';
import { DatabaseRefused } from './failure.ts';
import type { CommandName, Commands, FromThread, Notice, Request, ThreadOptions, ToThread } from './protocol.ts';

/** Pause before a database thread that failed is replaced, ms. */
const restartMs = 500;
/** The thread's last act waits for the write lock at most; one that does not end then is ended, ms. */
const endingLimitMs = 10_000;

/** What the thread tells without being asked. */
export type News = Extract<FromThread, { kind: 'response' | 'taken' | 'evicted' | 'health' | 'problem' }>;

interface Pending {
  readonly request: Request;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/**
 * The database thread as its adapter sees it. A thread that fails is replaced, and what it had not answered is asked
 * again: every command can be repeated.
 */
export class DatabaseThread {
  readonly #options: ThreadOptions;
  readonly #onNews: (news: News) => void;
  readonly #onReplaced: () => void;
  readonly #spawn: (options: ThreadOptions) => Worker;
  readonly #pending = new LinkedHashMap<number, Pending>();
  #outbox: ToThread[] = [];
  #flush: NodeJS.Immediate | undefined;
  #restart: NodeJS.Timeout | undefined;
  #worker: Worker | undefined;
  #onIdle: (() => void) | undefined;
  #next = 1;
  #state: 'open' | 'closing' | 'closed' = 'open';

  private constructor(
    options: ThreadOptions,
    onNews: (news: News) => void,
    onReplaced: () => void,
    spawn: (options: ThreadOptions) => Worker,
  ) {
    this.#spawn = spawn;
    this.#options = options;
    this.#onNews = onNews;
    this.#onReplaced = onReplaced;
  }

  /**
   * @param onReplaced a new thread is there, which knows nothing of the notices that its predecessor had
   * @throws {DatabaseRefused} the file cannot be used
   */
  static async open(
    options: ThreadOptions,
    onNews: (news: News) => void,
    onReplaced: () => void,
    spawn = spawnThread,
  ): Promise<DatabaseThread> {
    const thread = new DatabaseThread(options, onNews, onReplaced, spawn);
    await thread.#start();
    return thread;
  }

  /**
   * Asks for something and gives the answer, which for what is written means that it is stored.
   * @throws {BrokerUnavailable} it was not done
   */
  async ask<K extends CommandName>(op: K, args: Commands[K]['args']): Promise<Commands[K]['result']> {
    if (this.#state !== 'open') throw new BrokerUnavailable('the broker is closed');
    return await this.#ask(op, args);
  }

  /** Says something that needs no answer. */
  tell(notice: Notice): void {
    if (this.#state === 'open') this.#post(notice);
  }

  /** Nothing can be asked any more. */
  get isClosed(): boolean {
    return this.#state !== 'open';
  }

  /** Lets what was asked be answered within `limitMs`, then ends the thread. What is unanswered then is refused. */
  async close(limitMs: number): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    await this.#idle(limitMs);
    clearTimeout(this.#restart);
    await this.#end();
    this.#state = 'closed';
    clearImmediate(this.#flush);
    for (const { reject } of this.#pending.values()) {
      reject(new BrokerUnavailable('the broker was closed before this was stored'));
    }
    this.#pending.clear();
  }

  #ask<K extends CommandName>(op: K, args: Commands[K]['args']): Promise<Commands[K]['result']> {
    const request = { n: this.#next++, op, args } as Request;
    return new Promise((resolve, reject) => {
      this.#pending.set(request.n, { request, resolve: resolve as (value: unknown) => void, reject });
      this.#post(request);
    });
  }

  /** What is said in one turn of the event loop goes over as one message, and so into one transaction. */
  #post(message: ToThread): void {
    this.#outbox.push(message);
    this.#flush ??= setImmediate(() => {
      this.#flush = undefined;
      const messages = this.#outbox;
      this.#outbox = [];
      // Without a thread nothing is lost: requests are asked again, notices given again, as soon as there is one.
      this.#worker?.postMessage(messages);
    });
  }

  #idle(limitMs: number): Promise<void> {
    if (this.#pending.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, limitMs);
      this.#onIdle = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async #end(): Promise<void> {
    const worker = this.#worker;
    if (worker === undefined) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, endingLimitMs);
      worker.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#ask('close', {}).catch(() => resolve());
    });
    this.#worker = undefined;
    await worker.terminate();
  }

  #start(): Promise<void> {
    return new Promise((resolve, reject) => {
      const worker = this.#spawn(this.#options);
      let failure: Error | undefined;
      worker.on('message', (messages: FromThread[]) => {
        for (const message of messages) {
          if (message.kind === 'opened') {
            this.#worker = worker;
            resolve();
          } else if (message.kind === 'refused') {
            failure = new DatabaseRefused(message.message);
          } else {
            this.#receive(message);
          }
        }
      });
      worker.on('error', (error) => (failure = error instanceof Error ? error : new Error(String(error))));
      worker.once('exit', (code) => {
        // A thread that ends before it has opened the file fails the opening, a later end is a failure of its own.
        reject(failure ?? new Error(`the database thread ended with code ${code} before it was ready`));
        if (this.#worker === worker) this.#ended(failure ?? new Error(`the database thread ended with code ${code}`));
      });
    });
  }

  #receive(message: Exclude<FromThread, { kind: 'opened' | 'refused' }>): void {
    if (message.kind !== 'done' && message.kind !== 'failed') {
      this.#onNews(message);
      return;
    }
    const pending = this.#pending.get(message.n);
    if (pending === undefined) return;
    this.#pending.delete(message.n);
    if (message.kind === 'done') pending.resolve(message.value);
    else pending.reject(new BrokerUnavailable(message.message, { retryAfter: message.retryAfter }));
    if (this.#pending.size === 0) this.#onIdle?.();
  }

  #ended(error: Error): void {
    this.#worker = undefined;
    if (this.#state !== 'open') return;
    this.#onNews({ kind: 'problem', message: `the database thread failed: ${error.message}` });
    this.#onNews({ kind: 'health', connected: false, detail: 'the database thread failed and is being replaced' });
    this.#restart = setTimeout(() => void this.#replace(), restartMs);
  }

  async #replace(): Promise<void> {
    try {
      await this.#start();
    } catch (error) {
      this.#ended(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    this.#replaced();
  }

  #replaced(): void {
    clearImmediate(this.#flush);
    this.#flush = undefined;
    this.#outbox = [];
    this.#onNews({ kind: 'health', connected: true });
    for (const { request } of this.#pending.values()) this.#post(again(request));
    this.#onReplaced();
  }
}

/** Starts a database thread as a worker thread. */
export function spawnThread(options: ThreadOptions): Worker {
  return new Worker(new URL('./worker.ts', import.meta.url), { name: 'holdline-database', workerData: options });
}

/** What may have been done already must not be taken for somebody else's doing. */
function again(request: Request): Request {
  if (request.op === 'store') return { ...request, args: { ...request.args, repeated: true } };
  if (request.op === 'publish') return { ...request, args: { ...request.args, repeated: true } };
  return request;
}
