import type { OrderKey, SubscriptionStart } from '../config/config.ts';
import type { BroadcastEvent, DeliveryTarget } from '../model/broadcast.ts';
import type { ActionEvent, BodyRef, CallFacts, Progress, ResponseEvent } from '../model/call.ts';
import type { SubscriptionRegister } from './subscriptions.ts';
import type { Attachment, CallListing, CallQuery, CallStory, DeadLetter, DeadLetterQuery } from './stories.ts';
import type { Topology } from './topology.ts';

export type {
  Attachment,
  CallListing,
  CallQuery,
  CallState,
  CallStory,
  DeadLetter,
  DeadLetterQuery,
} from './stories.ts';

/**
 * The broker port: a call log in the words of the contract, not a message bus. Each adapter keeps it by its engine's best
 * means; nothing outside an adapter knows which one runs. `test/conformance/` states this contract as tests.
 *
 * What every adapter promises:
 * - *Durable*: once `store` has answered `accepted`, the call is delivered until it is settled, whatever process dies.
 * - *One response*: the first response event of a call wins; only a dead letter that is carried out after all gets a
 *   real answer in place of Holdline's own.
 * - *Settled last*: an action leaves the log only after its response event is stored.
 * - Every method may be called at any time, connected or not. Without a connection `store` refuses at once, with
 *   nothing stored; what must not be lost (`finish`, `postpone`) waits for the connection to come back.
 */
export interface Broker {
  /** Resolves when the first connection stands or `signal` aborts; never rejects for a broker that is merely away. */
  start(signal?: AbortSignal): Promise<void>;
  readonly status: BrokerStatus;
  /** Calls `listener` at each change of `status.connected`; returns the way to stop it. */
  onStatus(listener: (status: BrokerStatus) => void): () => void;
  /** What this broker, as it is configured and as it answers now, really promises. */
  promise(): Promise<DurabilityPromise>;
  caller(service: string): CallerLog;
  callee(service: string): CalleeLog;
  publisher(service: string): PublisherLog;
  subscriber(service: string): SubscriberLog;
  readonly operator: OperatorLog;
  /** Largest body that is part of its event, bytes; known after the first connection, a safe guess before. */
  readonly maxInlineBody: number;
  /** Largest body that can be part of its event where it cannot be stored apart, bytes; known as `maxInlineBody` is. */
  readonly maxEventBody: number;
  /** Where larger ones are. */
  readonly bodies: BodyStore;
  /** Lets writes under way end (within `limitMs`), then closes. Safe to call twice. */
  close(limitMs: number): Promise<void>;
}

export interface BrokerStatus {
  readonly connected: boolean;
  /** What is wrong, for people; absent when all is well. */
  readonly detail?: string;
}

/** Which failures an acknowledged call survives. */
export interface DurabilityPromise {
  /** `JetStream`, `SQLite`, … */
  readonly engine: string;
  readonly version: string;
  readonly replicas: number;
  readonly storage: string;
  readonly survives: {
    readonly sidecarKill: boolean;
    readonly brokerKill: boolean;
    readonly brokerNodeLoss: boolean;
    readonly powerLossOfOneNode: boolean;
    readonly powerLossOfAllNodes: boolean;
  };
  /** The promise in sentences, with its footnotes. */
  readonly notes: readonly string[];
}

/** The broker cannot store now, and nothing was stored. */
export class BrokerUnavailable extends Error {
  override readonly name = 'BrokerUnavailable';
  /** Ms after which trying again makes sense. */
  readonly retryAfter: number;
  /** The broker lets somebody with other rights do it: trying again is of no use. */
  readonly denied: boolean;
  constructor(message: string, options: ErrorOptions & { retryAfter?: number; denied?: boolean } = {}) {
    super(message, options);
    this.retryAfter = options.retryAfter ?? 1000;
    this.denied = options.denied ?? false;
  }
}

/** The stored body cannot be read any more: part of it is gone, or is not what was stored. Trying again changes nothing. */
export class BodyLost extends Error {
  override readonly name = 'BodyLost';
}

/**
 * Bodies that are too large for an event, in chunks of their own beside it. A body is stored before the event that refers
 * to it, and removed after it: with the call, with its dead letter, or with the stored response. One that no event ever
 * came to refer to is removed in time by itself.
 *
 * Neither way is a whole body in memory: a few chunks are under way at a time, and no more is taken in until they are stored,
 * or given out until they are wanted.
 */
export interface BodyStore {
  /**
   * Stores a body while it arrives. Resolves when all of it is stored; until an event refers to it, it can be lost. When it
   * rejects, what was stored of it is being removed.
   *
   * A `request` is refused when the broker is full or stays away. The body of an answer, which cannot be had again, waits as
   * `finish` does. What `source` gives is copied before more is asked for.
   * @throws {BrokerUnavailable}
   * @throws what `source` throws, or the reason of `signal`
   */
  write(place: BodyPlace, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<BodyRef>;

  /**
   * The body again, part by part, from its beginning. The last part comes only after the digest of the whole is
   * found right, so that nobody ever has a whole body that is not the one that was stored. A part is there until the next one is
   * asked for; its memory may be used for something else then.
   * Iterating throws {@link BodyLost}, or {@link BrokerUnavailable} where the broker stays away.
   */
  read(ref: BodyRef): AsyncGenerator<Uint8Array, void, undefined>;

  /** Removes a body unless a stored event refers to it. Never rejects; what fails is reported, and removed in time by itself. */
  forget(ref: BodyRef): Promise<void>;
}

/** What a body belongs to. */
export interface BodyPlace {
  /**
   * The body of an `answer` is kept like the stored response; a `lasting-answer` is one that the call goes on after, or that a
   * callback tells, and is kept like the request.
   */
  readonly kind: 'request' | 'answer' | 'lasting-answer';
  readonly call: Pick<CallFacts, 'id' | 'caller' | 'service' | 'keyed'>;
}

// ---------------------------------------------------------------------------------------------------------------------
// The caller's side

/** The calls that one service makes, as its sidecars see them. */
export interface CallerLog {
  /** Opens the streams, tables or subscriptions that `store` towards these callees will need. Never rejects; retries. */
  prepare(services: readonly string[]): void;

  newCallId(service: string): string;

  /**
   * Stores an action event unless its call is already known.
   *
   * `accepted`: stored now, and durable. `open`: the same id (and round, or a later one) is stored and not finished.
   * `finished`: it has a response event. For `action.round > 1` an outcome that Holdline itself gave an earlier round
   * does not count as finished (a real answer or a cancellation of any round does), and the dead letter that the
   * earlier round left is removed.
   *
   * Where the broker went away between the write and its acknowledgement the promise stays pending until the
   * connection is back and the truth is known; it is never rejected then.
   * @throws {BrokerUnavailable} nothing was stored and nothing will be
   */
  store(action: ActionEvent): Promise<Stored>;

  /**
   * Waits for the response event of a call, whoever stored the action and whenever. Call it before `store`, so that
   * nothing is missed. The promise resolves once, with the stored event (never a refused one), and never rejects;
   * after `release()` it may stay pending for good.
   */
  await(id: string): AwaitedResponse;

  /**
   * What is stored about a call of this service.
   * @param callee where it is known, it saves the search for it
   * @throws {BrokerUnavailable} it cannot be told now
   */
  find(id: string, callee?: string): Promise<FoundCall | undefined>;

  /**
   * Remembers durably that a caller has had the response of this round of a keyed call; what is found through this log
   * afterwards says so at once. Loses nothing but the memory if it fails; reports, never rejects.
   */
  markDelivered(id: string, round: number): void;

  /**
   * Remembers, for the story of a keyed call, that this instance led another caller to it; each way once. Best effort: reports,
   * never rejects.
   */
  noteAttached(id: string, how: Attachment['how']): void;

  /**
   * The id of the call that a content key stands for. Where it stands for none, or for `instead`, it stands for `id` from
   * now on, durably before this resolves. Of many who claim at once one wins, and all get the id of that one.
   *
   * The call itself may not be stored, because whoever claimed it died: then it is to be stored under that very id. A
   * claim is kept for the retention of keyed responses, and for longer while its call is open and is asked for.
   * @throws {BrokerUnavailable}
   */
  claim(claim: ContentClaim): Promise<string>;

  /**
   * Takes an open call off the log with a final outcome of Holdline's own, unless something has been sent to the callee
   * (for `cancelled`: ever; for `deadline-exceeded`: an attempt that is still running).
   * @throws {BrokerUnavailable}
   */
  withdraw(
    id: string,
    outcome: 'cancelled' | 'deadline-exceeded',
  ): Promise<'withdrawn' | 'started' | 'finished' | 'unknown'>;
}

export interface ContentClaim {
  /** See `contentKey` in `model/call-id.ts`. */
  readonly key: string;
  readonly service: string;
  readonly id: string;
  /** The call that the key may be taken from. */
  readonly instead?: string;
}

export type Stored =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'open'; readonly fingerprint: string }
  | { readonly kind: 'finished'; readonly response: ResponseEvent };

export interface AwaitedResponse {
  readonly response: Promise<ResponseEvent>;
  release(): void;
}

export type CallActivity = 'waiting' | 'attempting';

export type FoundCall =
  | { readonly kind: 'open'; readonly call: CallFacts; readonly fingerprint: string; readonly activity: CallActivity }
  /** `delivered`: a caller has had this answer (known for keyed calls only; see `markDelivered`). */
  | { readonly kind: 'finished'; readonly response: ResponseEvent; readonly delivered: boolean };

// ---------------------------------------------------------------------------------------------------------------------
// The callee's side

/** The calls that are made to one service, as its sidecars see them. Instances share the work. */
export interface CalleeLog {
  /**
   * Starts taking actions, oldest first. At most `free()` leases are asked for at a time; call `Taking.more()` when
   * slots became free. Starts paused: nothing is delivered before `resume()`. Never rejects; keeps trying while the broker is away.
   */
  take(options: TakeOptions): Taking;
}

export interface TakeOptions {
  /** Free slots of this instance right now. */
  free(): number;
  /** Gets each lease; must not throw. A lease belongs to the receiver until it calls one of its ending methods. */
  deliver(lease: Lease): void;
  /** Something that the adapter goes on retrying, worth a log line. */
  report(problem: Error): void;
  /**
   * Whether each call that was sent to the service and has ended also becomes a broadcast event, stored before the call is
   * settled; asked at the end of each. Absent: it does not.
   */
  publishCalls?(): boolean;
}

export interface Taking {
  /** Stops asking for more; leases at hand stay. While paused, calls whose deadline passes are still concluded. */
  pause(): void;
  resume(): void;
  more(): void;
  /** Stops for good: pulls nothing more; leases at hand stay usable until the broker closes. */
  stop(): Promise<void>;
  /** Calls stored and not finished, and since when the oldest waits (ms since the epoch). @throws {BrokerUnavailable} */
  backlog(): Promise<{ waiting: number; oldest?: number }>;
}

/**
 * One action at hand. The adapter extends the lease by itself for as long as it is held, and aborts `lost` when it no
 * longer can, which means that another instance may have the call now. What `postpone` and `release` say of a call that
 * another instance has is not taken in.
 *
 * Exactly one ending method (`finish`, `postpone`, `release`) is called, once.
 */
export interface Lease {
  readonly action: ActionEvent;
  /** What is recorded of this round. A `started` in it belongs to an instance that is gone. */
  readonly progress: Progress;
  /**
   * Earlier deliveries of this round of which nobody recorded an end or a release: attempts of idempotent calls
   * that a sidecar may have started before it died. Always 0 where `progress.started` is set.
   */
  readonly unaccounted: number;
  readonly lost: AbortSignal;

  /**
   * To be called before anything is sent. For a non-idempotent call this stores the start where it survives;
   * `gone` means that the call was withdrawn or that another instance has started it: nothing may be sent, and
   * the lease has ended.
   * @param attempt its number, counted from 1 over all rounds
   */
  start(attempt: number): Promise<'started' | 'gone'>;

  /** Gives the call back until `until` (ms since the epoch), remembering `progress`. Resolves when stored. */
  postpone(progress: Progress, until: number): Promise<void>;

  /**
   * Gives the call back at once for any instance: nothing was sent under this lease, and a start that it recorded is
   * taken back. What an instance that is gone left on record stays on record.
   */
  release(): Promise<void>;

  /**
   * Stores the response event, and for a dead letter the letter before it, then settles the action. Resolves when
   * stored, or when another response had won. Waits through broker failures.
   */
  finish(response: ResponseEvent): Promise<void>;
}

// ---------------------------------------------------------------------------------------------------------------------
// Broadcast events

/** The broadcast events that one service publishes. They are kept for the retention of broadcasts. */
export interface PublisherLog {
  newEventId(): string;

  /**
   * Stores an event unless one with its id is there.
   *
   * `stored`: stored, and durable; every subscription gets it. `known`: an event with this id was stored before.
   *
   * Where the broker went away between the write and its acknowledgement the promise stays pending until the
   * connection is back and the truth is known; it is never rejected then.
   * @throws {BrokerUnavailable} nothing was stored and nothing will be
   */
  publish(event: BroadcastEvent): Promise<Published>;
}

export type Published = { readonly kind: 'stored' } | { readonly kind: 'known'; readonly fingerprint: string };

/** The subscriptions of one service, as its sidecars see them. */
export interface SubscriberLog {
  /**
   * Starts taking the deliveries of a subscription, oldest event first; see {@link CalleeLog.take}. The instances of the
   * service share them, each subscription has a backlog of its own.
   *
   * A subscription is made durably by its first `subscribe`, as soon as the broker is there and paused or not: from then on its
   * position is kept under its name, whoever is there to take. A change of `topic` holds for the events that come next.
   *
   * A {@link Lease} of it carries `action.delivery` and is always idempotent. `finish` with the outcome `answered` settles the
   * delivery; a dead letter's outcome leaves a letter of the subscription. There is no response event.
   */
  subscribe(options: SubscribeOptions): SubscriptionTaking;
}

export interface SubscriptionTaking extends Taking {
  /** The subscription is there: what is published from now on is not missed. Stays true. */
  readonly isMade: boolean;
  /** Its subscriber has ended it, as far as is known here; nothing is delivered until it is resumed. */
  readonly isEnded: boolean;
  /** Ends it for all instances, durably, until {@link SubscriptionRegister.resume}. What waits for it is kept as long as events are. */
  end(): Promise<void>;
}

export interface SubscribeOptions extends TakeOptions {
  /** Unique within the service. */
  readonly name: string;
  /** Words with dots between them; `*` stands for one word, `**` for any number, none included. */
  readonly topic: string;
  /** Where the subscription starts when it is made. `ago`: ms before that. */
  readonly from: SubscriptionStart;
  /**
   * Deliveries with the same key (`action.orderKey`) are given out one after another, in the order in which their events were stored,
   * across all instances; a key that has to wait holds up no other. A dead letter lets the next one go, and goes behind the others when
   * it is replayed. A change holds for the events that come next.
   */
  readonly orderBy?: OrderKey;
  /** Where deliveries go now; asked for each. */
  target(): DeliveryTarget;
}

// ---------------------------------------------------------------------------------------------------------------------
// The operator's side

/** What the command line and the page read and do. Methods throw {@link BrokerUnavailable}. */
export interface OperatorLog {
  /** Newest first. */
  calls(query: CallQuery): Promise<CallListing[]>;
  call(id: string): Promise<CallStory | undefined>;
  /** As `CallerLog.withdraw(id, 'cancelled')`, for any service. */
  cancel(id: string): Promise<'withdrawn' | 'started' | 'finished' | 'unknown'>;
  /** Newest first; those of subscriptions carry `call.delivery`. */
  deadLetters(query: DeadLetterQuery): Promise<DeadLetter[]>;
  deadLetter(id: string): Promise<DeadLetter | undefined>;
  /** Starts the next round of a dead letter and takes it off the list. One of a subscription goes to that subscription only. */
  replay(id: string): Promise<'replayed' | 'unknown'>;
  /** Takes a dead letter off the list for good and frees its key. */
  discard(id: string): Promise<'discarded' | 'unknown'>;
  readonly subscriptions: SubscriptionRegister;
  /** Who calls whom. @param windowMs rates, errors and latencies are of calls that finished within this time */
  topology(windowMs: number): Promise<Topology>;
}
