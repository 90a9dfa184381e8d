import { deliveryOf, redirected, type BroadcastEvent, type SubscriptionName } from '../../model/broadcast.ts';
import { CallIds, newInstanceTag } from '../../model/call-id.ts';
import type { ActionEvent } from '../../model/call.ts';
import { decodeQueued } from '../../model/codec.ts';
import { eventOrderKeyOf } from '../../policy/order.ts';
import type { Published, PublisherLog, SubscribeOptions, SubscriptionTaking } from '../port.ts';
import { queueOf } from './call-table.ts';
import { packBroadcast } from './packing.ts';
import type { TakenCall } from './protocol.ts';
import { SqliteTaking, type SqliteTakingOptions } from './taking.ts';
import type { DatabaseThread } from './thread.ts';

/** The broadcast events that one service publishes, on the embedded log. */
export class SqlitePublisherLog implements PublisherLog {
  readonly #thread: DatabaseThread;
  readonly #service: string;
  readonly #ids = new CallIds(newInstanceTag());

  constructor(thread: DatabaseThread, service: string) {
    this.#thread = thread;
    this.#service = service;
  }

  newEventId(): string {
    return this.#ids.next(this.#service);
  }

  async publish(event: BroadcastEvent): Promise<Published> {
    return await this.#thread.ask('publish', packBroadcast(event));
  }
}

/** How often an ended subscription looks whether it was resumed, ms. */
const lookForResumeMs = 1_000;

/** Takes the deliveries of one subscription off the embedded log. */
export class SqliteSubscription extends SqliteTaking implements SubscriptionTaking {
  readonly #name: SubscriptionName;
  readonly #asking: DatabaseThread;
  readonly #report: (error: Error) => void;
  #isMade = false;
  #isEnded = false;
  /** Runs while the subscription is ended, or may be. */
  #watch: NodeJS.Timeout | undefined;

  /** @param taker `service`: the one that subscribed */
  constructor({ service, ...taker }: Omit<SqliteTakingOptions, 'decode'>, options: SubscribeOptions) {
    const { name, topic, from, orderBy } = options;
    const decode = decodeDelivery({ service, subscription: name }, options);
    super({ ...taker, service: queueOf(service, name), decode }, options);
    this.#name = { service, subscription: name };
    this.#asking = taker.thread;
    this.#report = (error) => options.report(error);
    taker.thread.ask('subscribe', { service, name, topic, from, ...(orderBy !== undefined && { orderBy }) }).then(
      () => {
        this.#isMade = true;
        // It may have been ended before this process was there.
        this.#halt();
      },
      (error: Error) => options.report(error),
    );
  }

  get isMade(): boolean {
    return this.#isMade;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  async end(): Promise<void> {
    await this.#asking.ask('end', this.#name);
    this.#isEnded = true;
    this.#halt();
  }

  /** Looks now and then how it stands, until it is known to go on. Whoever resumes it does so at the broker. */
  #halt(): void {
    this.#watch ??= setInterval(() => {
      this.#look().catch((error: Error) => this.#report(error));
    }, lookForResumeMs);
  }

  async #look(): Promise<void> {
    const { service, subscription } = this.#name;
    const listed = await this.#asking.ask('subscriptions', { service });
    if (this.#watch === undefined) return;
    if (listed.find((one) => one.subscription === subscription)?.state === 'ended') this.#isEnded = true;
    else this.#goOn();
  }

  #goOn(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
    this.#isEnded = false;
  }

  override stop(): Promise<void> {
    this.#goOn();
    return super.stop();
  }

  override deliver(calls: readonly TakenCall[]): void {
    if (calls.length > 0) this.#goOn();
    super.deliver(calls);
  }
}

/** Makes deliveries of what the queue of a subscription holds: events, and deliveries that are made again. */
function decodeDelivery(name: SubscriptionName, options: SubscribeOptions): (bytes: Uint8Array) => ActionEvent {
  return (bytes) => {
    const queued = decodeQueued(bytes);
    if (!('event' in queued)) return redirected(queued.action, options.target());
    const { event } = queued;
    return deliveryOf(event, name, options.target(), eventOrderKeyOf(options.orderBy, event));
  };
}
