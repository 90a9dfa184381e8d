import type { BrokerConfig } from '../../config/schema.ts';
import { CallIds, newInstanceTag } from '../../model/call-id.ts';
import type {
  BodyStore,
  Broker,
  BrokerStatus,
  CalleeLog,
  CallerLog,
  DurabilityPromise,
  OperatorLog,
  PublisherLog,
  SubscriberLog,
} from '../port.ts';
import { JetStreamBodies } from './bodies.ts';
import { JetStreamCallerLog } from './caller-log.ts';
import { Connection } from './connection.ts';
import type { Context } from './context.ts';
import { Lookup } from './lookup.ts';
import { JetStreamOperatorLog } from './operator-log.ts';
import { durabilityPromise } from './promise.ts';
import { Publisher } from './publisher.ts';
import { JetStreamPublisherLog } from './publisher-log.ts';
import { Streams } from './streams.ts';
import { Subjects } from './subjects.ts';
import { JetStreamSubscription } from './subscription.ts';
import { JetStreamTaking } from './taking.ts';

/** What an event needs beside the body: HTTP heads, history, broker headers. */
const HEAD_ROOM = 128 * 1024;
/** Larger bodies go in chunks: large messages hold up all others of the connection (research: jetstream.md §6). */
const INLINE_BODY = 512 * 1024;

export interface OpenJetStream {
  readonly config: Extract<BrokerConfig, { kind: 'nats' }>;
  readonly service: string;
  /** Unique to this process. */
  readonly instance: string;
  /** Gets what goes wrong and is being retried. */
  readonly report: (error: Error) => void;
}

/** A call log on NATS JetStream. Nothing is connected before `start()`. */
export function openJetStreamBroker(options: OpenJetStream): Promise<Broker> {
  return Promise.resolve(new JetStreamBroker(options));
}

class JetStreamBroker implements Broker {
  readonly #context: Context;
  readonly #connection: Connection;
  readonly #closing = new AbortController();
  readonly #callers = new Map<string, JetStreamCallerLog>();
  readonly #takings = new Set<JetStreamTaking | JetStreamSubscription>();
  readonly #eventIds = new CallIds(newInstanceTag());
  readonly operator: OperatorLog;
  #closed: Promise<void> | undefined;

  constructor({ config, service, instance, report }: OpenJetStream) {
    const connection = new Connection(config, `holdline ${service} ${instance}`, report, service);
    const subjects = new Subjects(config.namespace);
    const streams = new Streams(connection, config, subjects);
    this.#connection = connection;
    const context = {
      config,
      connection,
      subjects,
      streams,
      lookup: new Lookup(connection, streams, config.replicas),
      publisher: new Publisher(connection, report),
      instance,
      closing: this.#closing.signal,
      report,
    };
    this.#context = { ...context, bodies: new JetStreamBodies(context) };
    this.operator = new JetStreamOperatorLog(this.#context);
  }

  start(signal?: AbortSignal): Promise<void> {
    this.#connection.start();
    return new Promise((resolve) => {
      const stop = this.#connection.onUp(() => queueMicrotask(done));
      function done(): void {
        stop();
        signal?.removeEventListener('abort', done);
        resolve();
      }
      signal?.addEventListener('abort', done);
      if (signal?.aborted === true) done();
    });
  }

  get status(): BrokerStatus {
    return this.#connection.status;
  }

  onStatus(listener: (status: BrokerStatus) => void): () => void {
    return this.#connection.onStatus(listener);
  }

  promise(): Promise<DurabilityPromise> {
    const { config } = this.#context;
    return Promise.resolve(durabilityPromise(this.#connection.serverVersion, config.replicas, 'file'));
  }

  caller(service: string): CallerLog {
    let log = this.#callers.get(service);
    if (log === undefined) {
      log = new JetStreamCallerLog(this.#context, service);
      this.#callers.set(service, log);
      this.#endIfClosed(log);
    }
    return log;
  }

  callee(service: string): CalleeLog {
    return {
      take: (options) => {
        const taking = new JetStreamTaking(this.#context, service, options);
        this.#takings.add(taking);
        this.#endIfClosed(taking);
        return taking;
      },
    };
  }

  publisher(service: string): PublisherLog {
    return new JetStreamPublisherLog(this.#context, service, this.#eventIds);
  }

  subscriber(service: string): SubscriberLog {
    return {
      subscribe: (options) => {
        const subscription = new JetStreamSubscription(this.#context, service, options);
        this.#takings.add(subscription);
        this.#endIfClosed(subscription);
        return subscription;
      },
    };
  }

  get bodies(): BodyStore {
    return this.#context.bodies;
  }

  get maxInlineBody(): number {
    return Math.min(INLINE_BODY, this.maxEventBody);
  }

  get maxEventBody(): number {
    return this.#connection.maxPayload - HEAD_ROOM;
  }

  /** Closing ends what it knows; what is made after it would keep the process alive. */
  #endIfClosed(part: { close(): void }): void {
    if (this.#closed !== undefined) part.close();
  }

  close(limitMs: number): Promise<void> {
    this.#closed ??= this.#close(limitMs);
    return this.#closed;
  }

  async #close(limitMs: number): Promise<void> {
    await Promise.all([...this.#takings].map((taking) => taking.stop()));
    await this.#context.bodies.removals.done(limitMs);
    await this.#context.publisher.close(limitMs);
    this.#closing.abort();
    for (const taking of this.#takings) taking.close();
    for (const log of this.#callers.values()) log.close();
    this.#context.lookup.close();
    await this.#connection.close();
  }
}
