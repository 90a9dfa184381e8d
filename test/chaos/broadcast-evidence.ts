import type { Delivered, Published, Publish, Reported, Subscribed, Told, Undelivered } from './broadcast-history.ts';
import type { HistoryEvent, Refused, Unknown } from './history.ts';

/** All that the history holds of one broadcast that a caller wanted. */
export interface Publication {
  readonly token: string;
  readonly publishes: Publish[];
  readonly published: Published[];
  readonly refused: Refused[];
  readonly unknown: Unknown[];
  /** To any subscription. */
  readonly delivered: Delivered[];
}

/** All that the history holds of the dead letters of one delivery. */
export interface Letters {
  readonly delivery: string;
  /** Each letter that it has been, oldest first. */
  readonly letters: Undelivered[];
  /** When an operator replayed it. */
  readonly replayed: number[];
  /** The letter that it is. */
  letter: Undelivered | undefined;
}

/** What the history holds of broadcasts, feeds and callbacks; every list is in the order of time. */
export interface Broadcasts {
  readonly publications: ReadonlyMap<string, Publication>;
  /** Deliveries of what no caller ever wanted. */
  readonly strays: readonly Delivered[];
  readonly letters: ReadonlyMap<string, Letters>;
  /** By the call that they tell of. */
  readonly reported: ReadonlyMap<string, readonly Reported[]>;
  readonly told: ReadonlyMap<string, readonly Told[]>;
  /** At the end, by `service/name`. */
  readonly subscribed: ReadonlyMap<string, Subscribed>;
}

/** Gathers what a history says of broadcasts. @param history in the order of time */
export function gatherBroadcasts(history: readonly HistoryEvent[]): Broadcasts {
  const publications = new Map<string, Publication>();
  const letters = new Map<string, Letters>();
  const reported = new Map<string, Reported[]>();
  const told = new Map<string, Told[]>();
  const subscribed = new Map<string, Subscribed>();
  const strays: Delivered[] = [];

  for (const event of history) {
    if (event.type !== 'publish') continue;
    const fresh = { token: event.token, publishes: [], published: [], refused: [], unknown: [], delivered: [] };
    entryOf(publications, event.token, fresh).publishes.push(event);
  }
  const lettersOf = (delivery: string) =>
    entryOf(letters, delivery, { delivery, letters: [], replayed: [], letter: undefined });
  for (const event of history) {
    switch (event.type) {
      case 'published':
        publications.get(event.token)?.published.push(event);
        break;
      case 'refused':
        publications.get(event.token)?.refused.push(event);
        break;
      case 'unknown':
        publications.get(event.token)?.unknown.push(event);
        break;
      case 'delivered':
        (publications.get(event.token)?.delivered ?? strays).push(event);
        break;
      case 'reported':
        entryOf(reported, event.call, []).push(event);
        break;
      case 'told':
        entryOf(told, event.call, []).push(event);
        break;
      case 'undelivered': {
        const found = lettersOf(event.delivery);
        found.letters.push(event);
        found.letter = event;
        break;
      }
      case 'redelivered': {
        const found = lettersOf(event.delivery);
        found.replayed.push(event.at);
        found.letter = undefined;
        break;
      }
      case 'subscribed':
        subscribed.set(event.subscription, event);
        break;
      default:
      // The history of calls is gathered elsewhere.
    }
  }
  return { publications, strays, letters, reported, told, subscribed };
}

/** The event is there: its publisher was told so, or a subscriber had it. */
export function isStored({ published, delivered }: Publication): boolean {
  return published.length > 0 || delivered.length > 0;
}

/** What one subscription had of an event, in the order of time. */
export function deliveriesTo(subscription: string, { delivered }: Publication): Delivered[] {
  return delivered.filter((each) => each.subscription === subscription);
}

/** The deliveries after the first one that was taken. */
export function repeatsOf<T extends { readonly taken: boolean }>(received: readonly T[]): T[] {
  const first = received.findIndex(({ taken }) => taken);
  return first < 0 ? [] : received.slice(first + 1);
}

function entryOf<V>(map: Map<string, V>, key: string, fresh: V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  map.set(key, fresh);
  return fresh;
}
