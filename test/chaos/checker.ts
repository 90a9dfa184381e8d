import { deliveriesTo, isStored, repeatsOf } from './broadcast-evidence.ts';
import { type Evidence, gather, isReal } from './evidence.ts';
import type { HistoryEvent } from './history.ts';
import { type RuleName, rules, type Violation } from './rules.ts';
import { subscriptions } from './subscriptions.ts';

/** What a history amounts to. */
export interface Counts {
  /** What callers wanted. */
  readonly intents: number;
  /** Requests that they sent for it. */
  readonly exchanges: number;
  /** Calls that somebody was told of: a 202, a 504 with a Location, an answer. */
  readonly acknowledged: number;
  /** Of these, those with the callee's answer. */
  readonly answered: number;
  /** Requests of which nothing was accepted. */
  readonly refused: number;
  /** Requests whose connection ended without an answer. */
  readonly unknown: number;
  /** Executions by the services. */
  readonly executed: number;
  /** Idempotent calls that were executed more than once, as they may be. */
  readonly repeated: number;
  /** Calls that a caller was told are cancelled. */
  readonly cancelled: number;
  readonly doubled: number;
  readonly lost: number;
  /** Broadcast events that are stored: their publishers were told so, or a subscriber had them. */
  readonly published: number;
  /** Events that subscriptions took, each once for each subscription. */
  readonly delivered: number;
  /** Of these, those that came again after they were taken, as they may. */
  readonly redelivered: number;
  /** Events that a subscription should have and has not. */
  readonly withheld: number;
  /** Answers of calls that came in the call feed and in callbacks. */
  readonly reported: number;
  readonly told: number;
  readonly deadLetters: Readonly<Record<string, number>>;
  /** From the first request to the answer, ms. */
  readonly longestWait: number;
}

export interface Verdict {
  readonly counts: Counts;
  readonly violations: readonly Violation[];
}

/** Judges a complete history: the system was healed, and the calls had time to settle. */
export function check(history: readonly HistoryEvent[]): Verdict {
  const evidence = gather(history.toSorted((a, b) => a.at - b.at));
  const violations: Violation[] = [];
  for (const [rule, find] of Object.entries(rules) as [RuleName, (typeof rules)[RuleName]][]) {
    for (const finding of find(evidence)) violations.push({ rule, ...finding });
  }
  return { counts: count(evidence, violations), violations };
}

function count({ intents, calls, broadcasts }: Evidence, violations: readonly Violation[]): Counts {
  const all = [...intents.values()];
  const sum = (of: (intent: (typeof all)[number]) => number) => all.reduce((total, intent) => total + of(intent), 0);
  const known = [...calls.values()].filter(({ accepted, answered }) => accepted.length + answered.length > 0);
  const deadLetters: Record<string, number> = {};
  const ofDeliveries = [...broadcasts.letters.values()].map(({ letters }) => letters.map(({ reason }) => reason));
  for (const letters of [...[...calls.values()].map((call) => call.letters), ...ofDeliveries]) {
    for (const letter of new Set(letters)) deadLetters[letter] = (deadLetters[letter] ?? 0) + 1;
  }
  const executions = ({ attempted }: (typeof all)[number]) => attempted.filter(({ executed }) => executed).length;
  const broken = (rule: RuleName) => violations.filter((violation) => violation.rule === rule).length;
  return {
    intents: all.length,
    exchanges: sum(({ invokes }) => invokes.length),
    acknowledged: known.length,
    answered: known.filter(({ answered }) => answered.some(isReal)).length,
    refused: sum(({ refused }) => refused.length),
    unknown: sum(({ unknown }) => unknown.length),
    executed: sum(executions),
    repeated: all.filter((intent) => intent.invokes.some(({ idempotent }) => idempotent) && executions(intent) > 1)
      .length,
    cancelled: known.filter(({ cancelled }) => cancelled.length > 0).length,
    doubled: broken('doubled'),
    lost: broken('lost'),
    ...countDeliveries(broadcasts),
    withheld: broken('withheld'),
    reported: taken(broadcasts.reported),
    told: taken(broadcasts.told),
    deadLetters,
    longestWait: Math.max(0, ...all.map(waitOf)),
  };
}

function countDeliveries({ publications }: Evidence['broadcasts']) {
  let [delivered, redelivered] = [0, 0];
  for (const publication of publications.values()) {
    for (const name of Object.keys(subscriptions)) {
      const received = deliveriesTo(name, publication);
      if (received.some(({ taken: was }) => was)) delivered++;
      if (repeatsOf(received).length > 0) redelivered++;
    }
  }
  return { published: [...publications.values()].filter(isStored).length, delivered, redelivered };
}

/** Different deliveries that were taken. */
function taken(of: ReadonlyMap<string, readonly { readonly taken: boolean; readonly delivery: string }[]>): number {
  const all = [...of.values()].flat().filter(({ taken: was }) => was);
  return new Set(all.map(({ delivery }) => delivery)).size;
}

function waitOf({ invokes, answered }: { invokes: { at: number }[]; answered: { at: number }[] }): number {
  const [sent] = invokes;
  const [got] = answered;
  return sent && got ? got.at - sent.at : 0;
}
