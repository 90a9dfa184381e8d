import type { SubscriptionName } from '../../model/broadcast.ts';
import type { SubscriptionListing, SubscriptionRegister } from '../subscriptions.ts';
import type { DatabaseThread } from './thread.ts';

/** What the operator sees and does of the durable subscriptions, on the embedded log. */
export class SqliteSubscriptionRegister implements SubscriptionRegister {
  readonly #thread: DatabaseThread;

  constructor(thread: DatabaseThread) {
    this.#thread = thread;
  }

  async list(service?: string): Promise<SubscriptionListing[]> {
    return await this.#thread.ask('subscriptions', service === undefined ? {} : { service });
  }

  async remove(name: SubscriptionName): Promise<'removed' | 'unknown'> {
    return await this.#thread.ask('removeSubscription', name);
  }

  async resume(name: SubscriptionName): Promise<'resumed' | 'active' | 'unknown'> {
    return await this.#thread.ask('resume', name);
  }
}
