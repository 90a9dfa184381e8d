import type { BrokerConfig } from '../../config/schema.ts';
import type { JetStreamBodies } from './bodies.ts';
import type { Connection } from './connection.ts';
import type { Lookup } from './lookup.ts';
import type { Publisher } from './publisher.ts';
import type { Streams } from './streams.ts';
import type { Subjects } from './subjects.ts';

/** The parts that every half of this adapter works with. */
export interface Context {
  readonly config: Extract<BrokerConfig, { kind: 'nats' }>;
  readonly connection: Connection;
  readonly subjects: Subjects;
  readonly streams: Streams;
  readonly lookup: Lookup;
  readonly publisher: Publisher;
  readonly bodies: JetStreamBodies;
  /** Unique to this process. */
  readonly instance: string;
  /** Aborted when the broker is closed. */
  readonly closing: AbortSignal;
  /** Gets what goes wrong and is being retried. */
  readonly report: (error: Error) => void;
}
