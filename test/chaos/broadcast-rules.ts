import { deliveriesTo, isStored, type Publication, repeatsOf } from './broadcast-evidence.ts';
import type { Delivered } from './broadcast-history.ts';
import { aftermath, breakingFaults, jumps, sides, touched } from './causes.ts';
import type { Evidence } from './evidence.ts';
import type { Finding, Rule } from './finding.ts';
import { everySubscription, type SubscriptionName, subscriptions } from './subscriptions.ts';

/** How far the time of an event may be from when its publisher asked, ms. */
const tolerance = 1_000;
/** A subscriber that has taken an event gets it again so often at most, whatever is killed. */
const mostRepeats = 20;

/** What is promised of broadcast events and their subscriptions, each as what breaks it. */
export const broadcastRules = {
  /** Every subscription gets every event at least once; what was a dead letter of it, when that is replayed. */
  *withheld({ broadcasts }) {
    for (const publication of broadcasts.publications.values()) {
      if (!isStored(publication)) continue;
      for (const name of wanting(publication)) {
        const received = deliveriesTo(name, publication);
        if (received.some(({ taken }) => taken)) continue;
        yield about(publication, `${name} has never taken it, of ${received.length} deliveries`);
      }
    }
  },

  /** Only those that want a topic get it. */
  *foisted({ broadcasts }) {
    for (const publication of broadcasts.publications.values()) {
      const wants = new Set<string>(wanting(publication));
      const wrong = publication.delivered.find(({ subscription }) => !wants.has(subscription));
      if (wrong) yield about(publication, `${wrong.subscription} got it, and does not want ${wrong.topic}`);
    }
  },

  /** What was never published is not delivered. */
  *imagined({ broadcasts }) {
    for (const { token, event, subscription } of broadcasts.strays) {
      yield { token, event, what: `${subscription} got what nobody has published` };
    }
  },

  /** A refusal means that nothing was stored, now or later; a publisher that was told nothing else has no event. */
  *retracted({ broadcasts }) {
    for (const publication of broadcasts.publications.values()) {
      const { publishes, refused, delivered } = publication;
      if (refused.length === 0 || refused.length < publishes.length || delivered.length === 0) continue;
      const codes = new Set(refused.map(({ code }) => code));
      yield about(
        publication,
        `every request was refused (${[...codes].join(', ')}), and it was delivered all the same`,
      );
    }
  },

  /** One request is one event, and so are all requests with one key. */
  *multiplied({ broadcasts }) {
    for (const publication of broadcasts.publications.values()) {
      const events = eventsOf(publication);
      if (events.size > 1) yield about(publication, `it became the events ${[...events].join(' and ')}`);
    }
  },

  /** A publisher that goes on asking with its key is told that its event is stored. */
  *unconfirmed({ broadcasts }) {
    for (const publication of broadcasts.publications.values()) {
      const { publishes, published } = publication;
      if (published.length > 0 || publishes.some(({ key }) => key === undefined)) continue;
      yield about(publication, `${publishes.length} requests with its key brought no confirmation`);
    }
  },

  /** An event is delivered as it was sent, with the attributes of its publication, and as the same event each time. */
  *garbled({ broadcasts, faults }) {
    for (const publication of broadcasts.publications.values()) {
      const [sent] = publication.publishes;
      if (!sent) continue;
      const times = new Set(publication.delivered.map(({ time }) => time));
      if (times.size > 1) yield about(publication, `its ce-time is ${[...times].join(' and ')}`);
      for (const { topic } of publication.published) {
        if (topic !== sent.topic) yield about(publication, `it was published to ${topic} instead of ${sent.topic}`);
      }
      for (const delivered of publication.delivered) {
        const wrong = difference(publication, delivered, faults);
        if (wrong !== undefined) yield about(publication, `${delivered.subscription} got it with ${wrong}`);
      }
    }
  },

  /** Each delivery is one of its own, so that a subscription is never confused with another, and keeps its id. */
  *confused({ broadcasts }) {
    const places = new Map<string, string>();
    for (const publication of broadcasts.publications.values()) {
      for (const { delivery, event, subscription } of publication.delivered) {
        const place = `${event} for ${subscription}`;
        const known = places.get(delivery) ?? place;
        places.set(delivery, known);
        if (known !== place) yield about(publication, `the delivery ${delivery} is of ${known} and of ${place}`);
      }
      for (const name of wanting(publication)) {
        const ids = new Set(deliveriesTo(name, publication).map(({ delivery }) => delivery));
        if (ids.size > eventsOf(publication).size) {
          yield about(publication, `its deliveries to ${name} are ${[...ids].join(' and ')}`);
        }
      }
    }
  },

  /** What a subscriber has taken comes again only where a fault can have kept that from being known, and not for ever. */
  *insistent({ broadcasts, faults }) {
    for (const publication of broadcasts.publications.values()) {
      for (const name of wanting(publication)) {
        const received = deliveriesTo(name, publication);
        const what = insistence(received, faults);
        if (what !== undefined) yield about(publication, `${name} has taken it, and ${what}`);
      }
    }
  },

  /** No subscription is left behind, is missing, or has ended without having asked for it. */
  *stalled({ broadcasts }) {
    // A history without a list of subscriptions is one of calls alone.
    if (broadcasts.publications.size === 0) return;
    for (const name of everySubscription()) {
      const found = broadcasts.subscribed.get(name);
      if (found === undefined) yield { what: `the broker does not know the subscription ${name} at the end` };
      else if (found.state !== 'active') yield { what: `the subscription ${name} is ${found.state} at the end` };
      else if (found.waiting > 0) yield { what: `${found.waiting} events still wait for ${name} at the end` };
    }
  },

  /** A dead letter that is replayed when all is well is delivered. */
  *stranded({ broadcasts }) {
    for (const { delivery, letter, replayed } of broadcasts.letters.values()) {
      if (letter === undefined) continue;
      const how = replayed.length > 0 ? ', though it was replayed' : '';
      yield { ...eventOf(letter), call: delivery, what: `it is a dead letter of ${letter.to} at the end${how}` };
    }
  },

  /** Deliveries are given up only where their subscriber has failed them. */
  *abandoned({ broadcasts, faults }) {
    for (const { delivery, letters } of broadcasts.letters.values()) {
      const [first] = letters;
      if (first === undefined || first.to === 'payments/fussy') continue;
      const names = breakingFaults[first.reason] ?? new Set();
      const publication = [...broadcasts.publications.values()].find((each) => eventsOf(each).has(first.event ?? ''));
      const from = publication?.publishes[0]?.at ?? 0;
      const side = sideOf(first.to);
      if (touched(faults, { names, side, from, to: first.died + jumps(faults, from, first.at) })) continue;
      const what = `${first.to} was given up as ${first.reason}, and no fault on its side had touched it`;
      yield { ...eventOf(first), call: delivery, what };
    }
  },
} as const satisfies Record<string, Rule>;

function about({ token, published, delivered }: Publication, what: string): Finding {
  const event = published[0]?.event ?? delivered[0]?.event;
  return event === undefined ? { token, what } : { token, event, what };
}

/** The subscriptions that an event must reach. */
function wanting({ publishes }: Publication): SubscriptionName[] {
  const topic = publishes[0]?.topic ?? '';
  const names = Object.keys(subscriptions) as SubscriptionName[];
  return names.filter((name) => (subscriptions[name].wants as readonly string[]).includes(topic));
}

function eventsOf({ published, delivered }: Publication): Set<string> {
  return new Set([...published, ...delivered].map(({ event }) => event));
}

function eventOf({ event }: { readonly event?: string }): { event?: string } {
  return event === undefined ? {} : { event };
}

function difference(
  { publishes }: Publication,
  { digest, topic, source, time }: Delivered,
  faults: Evidence['faults'],
): string | undefined {
  const [first, last] = [publishes[0]!, publishes.at(-1)!];
  if (digest !== first.digest) return 'another body or content type';
  if (topic !== first.topic) return `ce-type ${topic} instead of ${first.topic}`;
  if (source !== '/services/orders') return `ce-source ${source}`;
  // By the clock of a sidecar, which may have been ahead or behind; any of the requests may be the one that was stored.
  const earliest = first.at - tolerance - jumps(faults, first.at, last.at);
  const at = Date.parse(time);
  return Number.isNaN(at) || at < earliest ? `ce-time ${time}` : undefined;
}

function insistence(received: readonly Delivered[], faults: Evidence['faults']): string | undefined {
  const repeats = repeatsOf(received);
  if (repeats.length > mostRepeats) return `got it ${repeats.length} times more`;
  for (const repeat of repeats) {
    const before = received[received.indexOf(repeat) - 1]!;
    const isKnown = before.taken && before.behaviour === 'well';
    const excused = faults.some(({ from, to }) => from <= repeat.at && to + aftermath >= before.at);
    if (isKnown && !excused) return `got it again after ${repeat.at - before.at} ms in which nothing had failed`;
  }
  return undefined;
}

function sideOf(to: string): RegExp {
  if (to === 'callback') return sides.orders;
  return to.startsWith('payments/') ? sides.payments : sides.audit;
}
