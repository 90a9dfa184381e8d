import { setTimeout as pause } from 'node:timers/promises';
import { jetstreamManager, JetStreamApiCodes, JetStreamApiError } from '@nats-io/jetstream';
import type { JetStreamManager, StreamConfig, StreamInfo } from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import type { BrokerConfig } from '../../config/schema.ts';
import { BrokerUnavailable } from '../port.ts';
import type { Connection } from './connection.ts';
import type { Subjects } from './subjects.ts';

type NatsConfig = Extract<BrokerConfig, { kind: 'nats' }>;

/** How long the server remembers message ids, ms. Only a convenience for resends: a restart forgets it (research §2.1). */
const DUPLICATE_WINDOW = 120_000;

/** How much longer than its response the body of an answer is kept, ms. */
const ANSWER_MARGIN = 15 * 60_000;

/** What `ensure` makes; every stream of a namespace is one of these. */
export type StreamSpec = Pick<StreamConfig, 'name' | 'subjects' | 'retention'> & Partial<StreamConfig>;

/** Makes and checks the streams. Each is asked for at most once per connection, however many callers need it. */
export class Streams {
  readonly #connection: Connection;
  readonly #config: NatsConfig;
  readonly #subjects: Subjects;
  readonly #ensured = new Map<string, Promise<StreamInfo>>();
  #manager: Promise<JetStreamManager> | undefined;

  constructor(connection: Connection, config: NatsConfig, subjects: Subjects) {
    this.#connection = connection;
    this.#config = config;
    this.#subjects = subjects;
    connection.onUp(() => {
      // The server may be another one, or have lost its disk.
      this.#ensured.clear();
      this.#manager = undefined;
    });
  }

  /** @throws {BrokerUnavailable} */
  async manager(): Promise<JetStreamManager> {
    const nc = this.#connection.nc;
    if (nc === undefined) throw new BrokerUnavailable(this.#connection.status.detail ?? 'not connected');
    this.#manager ??= jetstreamManager(nc, { checkAPI: false, timeout: 3_000 });
    return await this.#manager;
  }

  actions(callee: string): StreamSpec {
    return {
      name: this.#subjects.actionStream(callee),
      subjects: [`${this.#subjects.ns}.act.${callee}.>`],
      retention: 'workqueue',
      discard: 'new',
    };
  }

  /** Nobody consumes it: what waits here is moved to the actions when its turn comes (see order-queue.ts). */
  ordered(callee: string): StreamSpec {
    const { ns } = this.#subjects;
    return {
      name: this.#subjects.orderedStream(callee),
      subjects: [`${ns}.ord.${callee}.>`],
      retention: 'limits',
      discard: 'new',
      republish: { src: `${ns}.ord.${callee}.>`, dest: `${ns}.rto.${callee}.>`, headers_only: true },
    };
  }

  responses(caller: string): StreamSpec {
    const { ns } = this.#subjects;
    return {
      name: this.#subjects.responseStream(caller),
      subjects: [`${ns}.res.${caller}.>`],
      retention: 'limits',
      max_age: nanos(this.#config.retention.responses),
      max_msgs_per_subject: 1,
      republish: { src: `${ns}.res.${caller}.>`, dest: `${ns}.rt.${caller}.>` },
    };
  }

  keyed(caller: string): StreamSpec {
    const { ns } = this.#subjects;
    return {
      name: this.#subjects.keyedStream(caller),
      subjects: [`${ns}.key.${caller}.>`],
      retention: 'limits',
      max_age: nanos(this.#config.retention.keyed),
      max_msgs_per_subject: 1,
      republish: { src: `${ns}.key.${caller}.>`, dest: `${ns}.rtk.${caller}.>` },
    };
  }

  attempts(callee: string): StreamSpec {
    return {
      name: this.#subjects.attemptStream(callee),
      subjects: [`${this.#subjects.ns}.att.${callee}.>`],
      retention: 'limits',
      // Records are deleted when their call is settled. The age only clears what a crash left behind, and must not be
      // shorter than a call can stay open.
      max_age: nanos(this.#config.retention.deadLetters),
      max_msgs_per_subject: 1,
    };
  }

  dead(): StreamSpec {
    return {
      name: this.#subjects.deadStream(),
      subjects: [`${this.#subjects.ns}.dead.>`],
      retention: 'limits',
      max_age: nanos(this.#config.retention.deadLetters),
      max_msgs_per_subject: 1,
    };
  }

  broadcasts(): StreamSpec {
    return {
      name: this.#subjects.broadcastStream(),
      subjects: [`${this.#subjects.ns}.evt.>`],
      retention: 'limits',
      // A full stream refuses new events; it must not drop what subscriptions have not had yet.
      discard: 'new',
      max_age: nanos(this.#config.retention.broadcasts),
    };
  }

  deliveries(): StreamSpec {
    return {
      name: this.#subjects.deliveryStream(),
      subjects: [`${this.#subjects.ns}.dlv.>`],
      retention: 'limits',
      // As with attempts, the age only clears what a crash left behind. A delivery is open while its event is kept, at most.
      max_age: nanos(Math.max(this.#config.retention.broadcasts, this.#config.retention.deadLetters)),
      max_msgs_per_subject: 1,
    };
  }

  /** Nobody consumes it: what waits here is moved to the redeliveries when its turn comes (see delivery-line.ts). */
  turns(): StreamSpec {
    const { ns } = this.#subjects;
    return {
      name: this.#subjects.turnStream(),
      subjects: [`${ns}.turn.>`],
      retention: 'limits',
      discard: 'new',
      // Only for what subscriptions leave behind that nobody takes any more.
      max_age: nanos(Math.max(this.#config.retention.broadcasts, this.#config.retention.deadLetters)),
      republish: { src: `${ns}.turn.>`, dest: `${ns}.rtt.>`, headers_only: true },
    };
  }

  redeliveries(): StreamSpec {
    return {
      name: this.#subjects.redeliveryStream(),
      subjects: [`${this.#subjects.ns}.again.>`],
      retention: 'workqueue',
      discard: 'new',
    };
  }

  /** Chunks of requests. They go with their call or its letter, neither of which a body may be survived by, so none has an age. */
  bodies(callee: string): StreamSpec {
    return {
      name: this.#subjects.bodyStream(callee),
      subjects: [`${this.#subjects.ns}.body.${callee}.>`],
      retention: 'limits',
      discard: 'new',
    };
  }

  answers(caller: string): StreamSpec {
    return this.#answers(this.#subjects.answerStream(caller), `ans.${caller}`, this.#config.retention.responses);
  }

  keyedAnswers(caller: string): StreamSpec {
    return this.#answers(this.#subjects.keyedAnswerStream(caller), `kans.${caller}`, this.#config.retention.keyed);
  }

  #answers(name: string, place: string, retention: number): StreamSpec {
    return {
      name,
      subjects: [`${this.#subjects.ns}.${place}.>`],
      retention: 'limits',
      discard: 'new',
      // The chunks are older than the response that refers to them, and may be read until its last moment.
      max_age: nanos(retention + Math.min(retention, ANSWER_MARGIN)),
    };
  }

  /** The whole configuration with which a stream is made. */
  configure(spec: StreamSpec): StreamConfig {
    return {
      storage: 'file',
      num_replicas: this.#config.replicas,
      duplicate_window: duplicateWindow(spec),
      allow_direct: true,
      ...spec,
    } as StreamConfig;
  }

  /**
   * Makes sure that the stream exists. `own` also brings an existing one to this configuration; without it, an existing
   * stream is taken as it is, since its retention belongs to another service's configuration.
   * @throws {BrokerUnavailable}
   */
  ensure(spec: StreamSpec, own = false): Promise<StreamInfo> {
    const known = this.#ensured.get(spec.name);
    if (known !== undefined) return known;
    const made = this.#make(spec, own);
    this.#ensured.set(spec.name, made);
    made.catch(() => {
      if (this.#ensured.get(spec.name) === made) this.#ensured.delete(spec.name);
    });
    return made;
  }

  forget(name: string): void {
    this.#ensured.delete(name);
  }

  /** As `ensure`, but never gives up; stops silently when `signal` aborts. */
  async ensureForGood(
    spec: StreamSpec,
    own: boolean,
    signal: AbortSignal,
    report: (error: Error) => void,
  ): Promise<void> {
    for (let wait = 100; !signal.aborted; wait = Math.min(wait * 2, 5_000)) {
      try {
        await this.ensure(spec, own);
        return;
      } catch (error) {
        if (this.#connection.connected) report(error as Error);
        await pause(wait, undefined, { signal }).catch(() => undefined);
      }
    }
  }

  async #make(spec: StreamSpec, own: boolean): Promise<StreamInfo> {
    const jsm = await this.manager();
    const config = this.configure(spec);
    try {
      let info: StreamInfo | undefined;
      try {
        info = await jsm.streams.info(spec.name);
      } catch (error) {
        if (!isApiError(error, JetStreamApiCodes.StreamNotFound)) throw error;
      }
      if (info === undefined) {
        try {
          return await jsm.streams.add(config);
        } catch (error) {
          // Another sidecar made it in between, perhaps with its own retention.
          if (!isApiError(error, STREAM_NAME_IN_USE)) throw error;
          info = await jsm.streams.info(spec.name);
        }
      }
      const differs =
        own &&
        ((config.max_age !== undefined && info.config.max_age !== config.max_age) ||
          info.config.num_replicas !== config.num_replicas);
      if (!differs) return info;
      return await jsm.streams.update(spec.name, {
        ...(config.max_age !== undefined && { max_age: config.max_age, duplicate_window: config.duplicate_window }),
        num_replicas: config.num_replicas,
      });
    } catch (error) {
      throw new BrokerUnavailable(`stream ${spec.name}: ${(error as Error).message}`, { cause: error });
    }
  }
}

/** The server refuses a stream that remembers ids longer than messages. */
function duplicateWindow({ max_age: age }: StreamSpec): number {
  const window = nanos(DUPLICATE_WINDOW);
  return age === undefined || age === 0 ? window : Math.min(window, age);
}

const STREAM_NAME_IN_USE = 10058;

export function isApiError(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}
