import type { CallListing, CallQuery, CallStory, DeadLetter, DeadLetterQuery, OperatorLog } from '../port.ts';
import type { SubscriptionRegister } from '../subscriptions.ts';
import type { Topology } from '../topology.ts';
import { SqliteSubscriptionRegister } from './subscription-register.ts';
import type { Withdrawn } from './protocol.ts';
import type { DatabaseThread } from './thread.ts';

/** What the command line and the page read and do, on the embedded log. */
export class SqliteOperatorLog implements OperatorLog {
  readonly subscriptions: SubscriptionRegister;
  readonly #thread: DatabaseThread;

  constructor(thread: DatabaseThread) {
    this.#thread = thread;
    this.subscriptions = new SqliteSubscriptionRegister(thread);
  }

  async calls(query: CallQuery): Promise<CallListing[]> {
    return await this.#thread.ask('calls', query);
  }

  async call(id: string): Promise<CallStory | undefined> {
    return await this.#thread.ask('call', { id });
  }

  async cancel(id: string): Promise<Withdrawn> {
    return await this.#thread.ask('withdraw', { id, outcome: 'cancelled' });
  }

  async deadLetters(query: DeadLetterQuery): Promise<DeadLetter[]> {
    return await this.#thread.ask('deadLetters', query);
  }

  async deadLetter(id: string): Promise<DeadLetter | undefined> {
    return await this.#thread.ask('deadLetter', { id });
  }

  async replay(id: string): Promise<'replayed' | 'unknown'> {
    return await this.#thread.ask('replay', { id });
  }

  async topology(windowMs: number): Promise<Topology> {
    return await this.#thread.ask('topology', { windowMs });
  }

  async discard(id: string): Promise<'discarded' | 'unknown'> {
    return await this.#thread.ask('discard', { id });
  }
}
