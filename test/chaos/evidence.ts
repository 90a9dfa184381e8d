import { type Broadcasts, gatherBroadcasts } from './broadcast-evidence.ts';
import type { Accepted, Answered, Attempted, HistoryEvent, Invoke, Listed, Refused, Unknown } from './history.ts';

/** All that the history holds of one intent of a caller. */
export interface Intent {
  readonly token: string;
  readonly invokes: Invoke[];
  readonly accepted: Accepted[];
  readonly answered: Answered[];
  readonly refused: Refused[];
  readonly unknown: Unknown[];
  readonly attempted: Attempted[];
  /** Every call id that it was ever seen under. */
  readonly calls: Set<string>;
}

/** All that the history holds of one call id. */
export interface Call {
  readonly id: string;
  readonly tokens: Set<string>;
  readonly accepted: Accepted[];
  readonly answered: Answered[];
  readonly attempted: Attempted[];
  /** When a look-up was told that there is no such call. */
  readonly missing: number[];
  /** When an operator replayed its dead letter. */
  readonly replayed: number[];
  /** When a caller was told that it is cancelled. */
  readonly cancelled: number[];
  /** Every dead letter that it has been. */
  readonly letters: string[];
  /** The dead letter that it is. */
  letter: string | undefined;
  listed?: Listed;
}

/** The history, gathered by intent and by call; every list is in the order of time. */
export interface Evidence {
  readonly intents: ReadonlyMap<string, Intent>;
  readonly calls: ReadonlyMap<string, Call>;
  readonly crashes: readonly { readonly part: string; readonly detail: string }[];
  readonly faults: readonly PlayedFault[];
  readonly broadcasts: Broadcasts;
}

/** A fault as it was played; ms since the epoch. */
export interface PlayedFault {
  readonly name: string;
  readonly target: string;
  readonly from: number;
  /** By how much a clock jumped, ms. */
  readonly by?: number;
  /** Infinity where the history ends before it. */
  to: number;
}

/** Gathers a history. @param history in the order of time */
export function gather(history: readonly HistoryEvent[]): Evidence {
  const intents = new Map<string, Intent>();
  const calls = new Map<string, Call>();
  const crashes: { part: string; detail: string }[] = [];
  const faults: PlayedFault[] = [];
  const broadcasts = gatherBroadcasts(history);

  const intentOf = (token: string): Intent => {
    const known = intents.get(token);
    if (known) return known;
    const fresh = { invokes: [], accepted: [], answered: [], refused: [], unknown: [], attempted: [] };
    const intent = { token, ...fresh, calls: new Set<string>() };
    intents.set(token, intent);
    return intent;
  };
  const callOf = (id: string, token?: string): Call => {
    let call = calls.get(id);
    if (!call) {
      call = {
        id,
        tokens: new Set(),
        accepted: [],
        answered: [],
        attempted: [],
        missing: [],
        replayed: [],
        cancelled: [],
        letters: [],
        letter: undefined,
      };
      calls.set(id, call);
    }
    if (token !== undefined) {
      call.tokens.add(token);
      intentOf(token).calls.add(id);
    }
    return call;
  };

  for (const event of history) {
    switch (event.type) {
      case 'invoke':
        intentOf(event.token).invokes.push(event);
        break;
      case 'accepted':
        intentOf(event.token).accepted.push(event);
        callOf(event.call, event.token).accepted.push(event);
        break;
      case 'answered':
        if (event.token !== undefined) intentOf(event.token).answered.push(event);
        callOf(event.call, event.token).answered.push(event);
        break;
      case 'refused':
        if (!broadcasts.publications.has(event.token)) intentOf(event.token).refused.push(event);
        break;
      case 'unknown':
        if (!broadcasts.publications.has(event.token)) intentOf(event.token).unknown.push(event);
        break;
      case 'missing':
        callOf(event.call, event.token).missing.push(event.at);
        break;
      case 'cancelled':
        callOf(event.call, event.token).cancelled.push(event.at);
        break;
      case 'attempted':
        intentOf(event.token).attempted.push(event);
        callOf(event.call, event.token).attempted.push(event);
        break;
      case 'replayed':
        callOf(event.call).replayed.push(event.at);
        callOf(event.call).letter = undefined;
        break;
      case 'letter':
        callOf(event.call).letter = event.reason;
        callOf(event.call).letters.push(event.reason);
        break;
      case 'listed':
        callOf(event.call).listed = event;
        break;
      case 'crashed':
        crashes.push(event);
        break;
      case 'fault':
        if (event.phase === 'begin') {
          const { name, target, at: from, by } = event;
          faults.push({ name, target, from, to: Number.POSITIVE_INFINITY, ...(by !== undefined && { by }) });
        } else {
          const played = faults.findLast(({ name, target }) => name === event.name && target === event.target);
          if (played) played.to = event.at;
        }
        break;
      case 'publish':
      case 'published':
      case 'delivered':
      case 'reported':
      case 'told':
      case 'undelivered':
      case 'redelivered':
      case 'subscribed':
        break;
      default:
        event satisfies never;
    }
  }
  return { intents, calls, crashes, faults, broadcasts };
}

/** Whether an answer is the callee's own and final, and not what Holdline says in place of one. */
export function isReal({ outcome, error }: Answered): boolean {
  return outcome === undefined && error === undefined;
}
