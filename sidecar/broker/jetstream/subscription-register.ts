import { JetStreamApiCodes, type ConsumerInfo } from '@nats-io/jetstream';
import type { SubscriptionName } from '../../model/broadcast.ts';
import { decodeAction, decodeBroadcast, type StoredDeadLetter } from '../../model/codec.ts';
import { BrokerUnavailable } from '../port.ts';
import type { SubscriptionListing, SubscriptionRegister } from '../subscriptions.ts';
import { isDenied } from './connection.ts';
import type { Context } from './context.ts';
import type { Directory } from './directory.ts';
import { isApiError } from './streams.ts';
import { readOrdered } from './subjects.ts';

/** Dead letters read to count those of each subscription. */
const LETTERS_READ = 100_000;

/** What the operator sees and does of the durable subscriptions. Methods throw {@link BrokerUnavailable}. */
export class JetStreamSubscriptionRegister implements SubscriptionRegister {
  readonly #context: Context;
  readonly #directory: Directory;

  constructor(context: Context, directory: Directory) {
    this.#context = context;
    this.#directory = directory;
  }

  async list(service?: string): Promise<SubscriptionListing[]> {
    const letters = await this.#directory.deadLetters(LETTERS_READ, service);
    const { subjects } = this.#context;
    const found: SubscriptionListing[] = [];
    for (const info of await this.#consumers(subjects.broadcastStream())) {
      const name = subjects.readSubscriptionConsumer(info.name);
      if (name === undefined || (service !== undefined && name.service !== service)) continue;
      found.push(await this.#listing(name, info, letters));
    }
    return found.toSorted((a, b) => (`${a.service}/${a.subscription}` < `${b.service}/${b.subscription}` ? -1 : 1));
  }

  async #listing(name: SubscriptionName, info: ConsumerInfo, letters: readonly StoredDeadLetter[]) {
    const { subjects, lookup } = this.#context;
    const replays = await this.#consumer(subjects.redeliveryStream(), name);
    const open = [info, ...(replays === undefined ? [] : [replays])].reduce(
      (sum, { num_pending, num_ack_pending }) => sum + num_pending + num_ack_pending,
      0,
    );
    const waiting = open + (await this.#inLine(name));
    const first = await lookup.next(subjects.turnStream(), 1, subjects.turns(name));
    const next =
      waiting === 0 ? undefined : await lookup.at(subjects.broadcastStream(), info.ack_floor.stream_seq + 1, true);
    const own = letters.filter(
      ({ action }) => action.service === name.service && action.delivery?.subscription === name.subscription,
    );
    return {
      ...name,
      topic: info.config.description ?? info.config.filter_subject ?? '',
      state: (await this.#isEnded(name)) ? ('ended' as const) : ('active' as const),
      waiting,
      ...(first === undefined
        ? next !== undefined && { oldest: decodeBroadcast(next.data).at }
        : { oldest: decodeAction(first.data).acceptedAt }),
      deadLetters: own.length,
    };
  }

  async remove(name: SubscriptionName): Promise<'removed' | 'in-use' | 'unknown'> {
    const { subjects, lookup, streams } = this.#context;
    const info = await this.#consumer(subjects.broadcastStream(), name);
    if (info === undefined) return 'unknown';
    if (info.num_waiting > 0) return 'in-use';
    const { consumers } = await streams.manager();
    const consumer = subjects.subscriptionConsumer(name);
    for (const stream of [subjects.redeliveryStream(), subjects.broadcastStream()]) {
      try {
        await consumers.delete(stream, consumer);
      } catch (error) {
        if (!isGone(error)) throw unavailable(error);
      }
    }
    await lookup.purge(subjects.turnStream(), subjects.turns(name));
    await lookup.purge(subjects.redeliveryStream(), subjects.redelivery(name, '*'));
    await lookup.purge(subjects.deliveryStream(), subjects.deliveries(name));
    return 'removed';
  }

  async resume(name: SubscriptionName): Promise<'resumed' | 'active' | 'unknown'> {
    const { subjects, lookup } = this.#context;
    if ((await lookup.purge(subjects.deliveryStream(), subjects.ended(name))) > 0) return 'resumed';
    return (await this.#consumer(subjects.broadcastStream(), name)) === undefined ? 'unknown' : 'active';
  }

  /** Deliveries that wait behind the first of their order key, which is in the queue of redeliveries. */
  async #inLine(name: SubscriptionName): Promise<number> {
    const { subjects, streams } = this.#context;
    const { streams: api } = await streams.manager();
    try {
      const { state } = await api.info(subjects.turnStream(), { subjects_filter: subjects.turns(name) });
      const waiting = Object.keys(state.subjects ?? {});
      return waiting.length - new Set(waiting.map((subject) => readOrdered(subject).order)).size;
    } catch (error) {
      if (isGone(error)) return 0;
      throw unavailable(error);
    }
  }

  async #isEnded(name: SubscriptionName): Promise<boolean> {
    const { subjects, lookup } = this.#context;
    return (await lookup.last(subjects.deliveryStream(), subjects.ended(name))) !== undefined;
  }

  async #consumers(stream: string): Promise<ConsumerInfo[]> {
    const { consumers } = await this.#context.streams.manager();
    const found: ConsumerInfo[] = [];
    try {
      for await (const info of consumers.list(stream)) found.push(info);
    } catch (error) {
      if (!isGone(error)) throw unavailable(error);
    }
    return found;
  }

  async #consumer(stream: string, name: SubscriptionName): Promise<ConsumerInfo | undefined> {
    const { consumers } = await this.#context.streams.manager();
    try {
      return await consumers.info(stream, this.#context.subjects.subscriptionConsumer(name));
    } catch (error) {
      if (isGone(error)) return undefined;
      throw unavailable(error);
    }
  }
}

function isGone(error: unknown): boolean {
  return isApiError(error, JetStreamApiCodes.ConsumerNotFound) || isApiError(error, JetStreamApiCodes.StreamNotFound);
}

function unavailable(cause: unknown): BrokerUnavailable {
  return new BrokerUnavailable(`subscriptions: ${(cause as Error).message}`, { cause, denied: isDenied(cause) });
}
