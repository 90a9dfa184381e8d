import type { BrokerConfig } from '../config/schema.ts';
import type { Broker } from './port.ts';

export interface OpenBroker {
  readonly config: BrokerConfig;
  readonly service: string;
  /** Unique to this process. */
  readonly instance: string;
  /** Gets what goes wrong and is being retried. */
  readonly report: (error: Error) => void;
}

/**
 * The one place that picks an adapter. Adapters are loaded only when used, so that a sidecar on NATS never loads SQLite and the
 * other way round. Nothing is connected before `start()`.
 * @throws {Error} what no waiting can mend, such as a database file of another program
 */
export async function openBroker({ config, ...rest }: OpenBroker): Promise<Broker> {
  if (config.kind === 'nats') {
    const { openJetStreamBroker } = await import('./jetstream/broker.ts');
    return await openJetStreamBroker({ ...rest, config });
  }
  const { openSqliteBroker } = await import('./sqlite/broker.ts');
  return await openSqliteBroker({ ...rest, config });
}
