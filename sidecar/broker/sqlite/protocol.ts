import type { SubscriptionName } from '../../model/broadcast.ts';
import type { SubscriptionListing } from '../subscriptions.ts';
import type { Outcome } from '../../model/call.ts';
import type { RetentionConfig } from '../../config/config.ts';
import type {
  Attachment,
  CallListing,
  CallQuery,
  CallStory,
  DeadLetter,
  DeadLetterQuery,
  FoundCall,
  Published,
  SubscribeOptions,
} from '../port.ts';
import type { Topology } from '../topology.ts';

/** What the adapter and its database thread say to each other. Events travel as the bytes that are stored. */

export interface ThreadOptions {
  readonly file: string;
  readonly namespace: string;
  readonly service: string;
  readonly instance: string;
  /** ms */
  readonly retention: RetentionConfig;
  readonly maxBytes?: number | undefined;
}

/** Names one lease: the stored action, and the instance row under which it was taken. */
export interface LeaseName {
  readonly seq: number;
  readonly owner: number;
}

export interface StoreArgs {
  readonly id: string;
  readonly round: number;
  readonly caller: string;
  readonly service: string;
  readonly fingerprint: string;
  readonly idempotent: boolean;
  readonly keyed: boolean;
  readonly acceptedAt: number;
  readonly deadline: number;
  readonly orderKey: string | null;
  /** Id of the body that the event refers to. */
  readonly body: string | null;
  /** It may have been stored before, with the answer lost. */
  readonly repeated?: boolean;
  readonly event: Uint8Array;
}

export type StoreResult =
  | { readonly kind: 'accepted' }
  | { readonly kind: 'open'; readonly fingerprint: string; readonly round: number }
  | { readonly kind: 'finished'; readonly event: Uint8Array };

export interface FinishArgs {
  readonly id: string;
  readonly round: number;
  readonly caller: string;
  readonly service: string;
  readonly route: string;
  readonly keyed: boolean;
  readonly outcome: Outcome;
  readonly finishedAt: number;
  /** Stored with it: the call that tells the caller's service. */
  readonly callback?: StoreArgs;
  /** Published with it. */
  readonly feed?: PublishArgs;
  /** Id of the body that the event refers to. */
  readonly body: string | null;
  readonly event: Uint8Array;
}

export interface PublishArgs {
  readonly id: string;
  readonly topic: string;
  readonly publisher: string;
  readonly at: number;
  readonly fingerprint: string;
  /** It may have been stored before, with the answer lost. */
  readonly repeated?: boolean;
  readonly event: Uint8Array;
}

export type SubscribeArgs = { readonly service: string } & Pick<
  SubscribeOptions,
  'name' | 'topic' | 'from' | 'orderBy'
>;

/** The end of a delivery. `letter`: what is kept of one that was given up. */
export interface SettleArgs {
  readonly id: string;
  readonly letter?: Uint8Array;
}

export type FindResult =
  | { readonly kind: 'open'; readonly found: Extract<FoundCall, { kind: 'open' }> }
  | { readonly kind: 'finished'; readonly event: Uint8Array; readonly delivered: boolean };

export type Withdrawn = 'withdrawn' | 'started' | 'finished' | 'unknown';

/** One taken action on its way to its receiver. */
export interface TakenCall extends LeaseName {
  readonly event: Uint8Array;
  readonly progress?: Uint8Array;
  /** JSON of `Progress['started']`. */
  readonly started?: string;
  readonly unaccounted: number;
}

/** The questions that get an answer. */
export interface Commands {
  store: { args: StoreArgs; result: StoreResult };
  find: { args: { id: string; caller: string }; result: FindResult | undefined };
  delivered: { args: { id: string; round: number; caller: string }; result: void };
  attached: { args: { id: string; attachment: Attachment }; result: void };
  claim: { args: { caller: string; key: string; id: string; instead: string | undefined }; result: string };
  withdraw: { args: { id: string; caller?: string; outcome: 'cancelled' | 'deadline-exceeded' }; result: Withdrawn };
  start: { args: LeaseName & { guarded: boolean; mark: string }; result: 'started' | 'gone' };
  postpone: {
    args: LeaseName & { until: number; progress: Uint8Array | null; body: string | null };
    result: void;
  };
  release: { args: LeaseName; result: void };
  finish: { args: LeaseName & FinishArgs; result: 'stored' | 'refused' };
  publish: { args: PublishArgs; result: Published };
  subscribe: { args: SubscribeArgs; result: void };
  settle: { args: LeaseName & SettleArgs; result: void };
  end: { args: SubscriptionName; result: void };
  resume: { args: SubscriptionName; result: 'resumed' | 'active' | 'unknown' };
  removeSubscription: { args: SubscriptionName; result: 'removed' | 'unknown' };
  subscriptions: { args: { service?: string }; result: SubscriptionListing[] };
  /** `service`: a service, or the queue of a subscription. */
  backlog: { args: { service: string }; result: { waiting: number; oldest?: number } };
  calls: { args: CallQuery; result: CallListing[] };
  call: { args: { id: string }; result: CallStory | undefined };
  deadLetters: { args: DeadLetterQuery; result: DeadLetter[] };
  deadLetter: { args: { id: string }; result: DeadLetter | undefined };
  replay: { args: { id: string }; result: 'replayed' | 'unknown' };
  discard: { args: { id: string }; result: 'discarded' | 'unknown' };
  topology: { args: { windowMs: number }; result: Topology };
  putChunk: { args: { id: string; n: number; bytes: Uint8Array; kept: boolean }; result: void };
  chunk: { args: { id: string; n: number }; result: Uint8Array | undefined };
  forgetBody: { args: { id: string }; result: void };
  engine: { args: Record<string, never>; result: { version: string } };
  close: { args: Record<string, never>; result: void };
}

export type CommandName = keyof Commands;

export type Request = {
  [K in CommandName]: { readonly n: number; readonly op: K; readonly args: Commands[K]['args'] };
}[CommandName];

/** What needs no answer. */
export type Notice =
  /** Awaits the response of a call, in this round or a later one. */
  | { readonly op: 'await'; readonly id: string; readonly caller: string; readonly round: number }
  | { readonly op: 'forget'; readonly id: string; readonly caller: string }
  /**
   * This taker wants up to `free` actions of a service. `received`: leases that have arrived so far, by which the thread
   * knows what is still on its way.
   */
  | {
      readonly op: 'want';
      readonly taker: number;
      readonly service: string;
      readonly free: number;
      readonly received: number;
    }
  /** The adapter lives and holds leases. */
  | { readonly op: 'beat' };

export type ToThread = Request | Notice;

export type FromThread =
  | { readonly kind: 'opened' }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'done'; readonly n: number; readonly value: unknown }
  | { readonly kind: 'failed'; readonly n: number; readonly message: string; readonly retryAfter: number }
  | { readonly kind: 'response'; readonly id: string; readonly caller: string; readonly event: Uint8Array }
  | { readonly kind: 'taken'; readonly taker: number; readonly calls: readonly TakenCall[] }
  /** This instance was taken for dead: its leases belong to nobody or to others. */
  | { readonly kind: 'evicted'; readonly owner: number }
  | { readonly kind: 'health'; readonly connected: boolean; readonly detail?: string }
  | { readonly kind: 'problem'; readonly message: string };

/** How a command treats the file. */
export interface Effect {
  /** `durable`: on the disk before it is answered. `lazy`: survives any process, maybe not a power loss. `none`: reads. */
  readonly write: 'durable' | 'lazy' | 'none';
  /** Other processes may be waiting for what it wrote. */
  readonly rings: boolean;
  /** Goes on until it succeeds; everything else is refused when the file cannot be written. */
  readonly kept: boolean;
}

const reads: Effect = { write: 'none', rings: false, kept: false };

export function effectOf(request: Request): Effect {
  switch (request.op) {
    case 'store':
    case 'publish':
    case 'withdraw':
    case 'replay':
    case 'discard':
    case 'resume':
    case 'removeSubscription':
      return { write: 'durable', rings: true, kept: false };
    case 'subscribe':
    case 'end':
    case 'settle':
    case 'finish':
    case 'postpone':
    case 'release':
      return { write: 'durable', rings: true, kept: true };
    case 'delivered':
      return { write: 'durable', rings: false, kept: true };
    case 'claim':
      // A power loss that takes the claim has taken the call as well, because that is stored after it.
      return { write: 'lazy', rings: false, kept: false };
    case 'attached':
      return { write: 'lazy', rings: false, kept: false };
    case 'start':
      // The mark of a guarded call decides whether it may ever run again. For the others it only sharpens what `find`
      // and `withdraw` can say, and a process kill does not lose it.
      return { write: request.args.guarded ? 'durable' : 'lazy', rings: false, kept: true };
    case 'putChunk':
      // The event that refers to the body is durable, and with it everything that was written before.
      return { write: 'lazy', rings: false, kept: request.args.kept };
    case 'forgetBody':
      return { write: 'lazy', rings: false, kept: false };
    case 'find':
    case 'chunk':
    case 'backlog':
    case 'subscriptions':
    case 'calls':
    case 'call':
    case 'deadLetters':
    case 'deadLetter':
    case 'topology':
    case 'engine':
    case 'close':
      return reads;
    default:
      return request satisfies never;
  }
}
