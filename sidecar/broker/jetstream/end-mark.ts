import type { SubscriptionName } from '../../model/broadcast.ts';
import type { Context } from './context.ts';

/** How often an ended subscription looks whether it was resumed, ms. */
export const LOOK_FOR_RESUME = 1_000;
const nothing = new Uint8Array(0);

export interface EndMarkOptions {
  /** Nothing is to be delivered from now on. */
  halt(): void;
  goOn(): void;
  report(problem: Error): void;
}

/** Whether its subscriber has ended a subscription: a mark at the broker, which holds for all instances and over restarts. */
export class EndMark {
  readonly #context: Context;
  readonly #name: SubscriptionName;
  readonly #options: EndMarkOptions;
  /** Runs while the subscription is ended. */
  #watch: NodeJS.Timeout | undefined;
  /** The mark is stored. */
  #isStored = false;

  constructor(context: Context, name: SubscriptionName, options: EndMarkOptions) {
    this.#context = context;
    this.#name = name;
    this.#options = options;
  }

  get isSet(): boolean {
    return this.#watch !== undefined;
  }

  /** Ends the subscription for all. Goes on through broker failures. */
  async set(): Promise<void> {
    this.#halt();
    const { publisher, subjects, streams } = this.#context;
    await publisher.publish({
      subject: subjects.ended(this.#name),
      payload: nothing,
      patience: 'keep',
      ensureStream: async () => void (await streams.ensure(streams.deliveries())),
    });
    this.#isStored = true;
  }

  /** Halts where the mark is stored. @throws {BrokerUnavailable} */
  async look(): Promise<void> {
    if (await this.#isThere()) this.#halt();
  }

  /** From now on it is looked now and then whether somebody has taken the mark away. */
  #halt(): void {
    this.#options.halt();
    this.#watch ??= setInterval(() => {
      this.#lookForResume().catch((error: Error) => {
        if (this.#context.connection.connected) this.#options.report(error);
      });
    }, LOOK_FOR_RESUME);
  }

  async #lookForResume(): Promise<void> {
    if (!this.#isStored || !this.#context.connection.connected || (await this.#isThere())) return;
    this.close();
    this.#options.goOn();
  }

  async #isThere(): Promise<boolean> {
    const { lookup, subjects } = this.#context;
    this.#isStored = (await lookup.last(subjects.deliveryStream(), subjects.ended(this.#name))) !== undefined;
    return this.#isStored;
  }

  close(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }
}
