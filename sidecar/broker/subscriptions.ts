import type { SubscriptionName } from '../model/broadcast.ts';

/** What an operator sees and does of the durable subscriptions. Methods throw `BrokerUnavailable`. */
export interface SubscriptionRegister {
  /** All of them, or those of one service, by service and name, whether somebody takes them or not. */
  list(service?: string): Promise<SubscriptionListing[]>;
  /**
   * Forgets a subscription, and with it what waits for it; dead letters stay. `in-use`: a sidecar takes it, as far as the
   * broker can tell. One that still has it in its configuration makes it anew at its next start.
   */
  remove(name: SubscriptionName): Promise<'removed' | 'in-use' | 'unknown'>;
  /** Lets a subscription that was ended go on. `active`: it was not. */
  resume(name: SubscriptionName): Promise<'resumed' | 'active' | 'unknown'>;
}

/** One line of `subscriptions list`. */
export interface SubscriptionListing extends SubscriptionName {
  readonly topic: string;
  /** `ended`: by a 410 of the subscriber. */
  readonly state: 'active' | 'ended';
  /** Events that it has not had. */
  readonly waiting: number;
  /** Since when the oldest of them waits, ms since the epoch. */
  readonly oldest?: number;
  readonly deadLetters: number;
}
