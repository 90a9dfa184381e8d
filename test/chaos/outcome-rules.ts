import type { Told, Reported } from './broadcast-history.ts';
import { type Call, type Evidence, isReal } from './evidence.ts';
import type { Finding, Rule } from './finding.ts';
import type { Answered } from './history.ts';
import { callFeed } from './subscriptions.ts';

/**
 * What is promised to those who hear of finished calls: a caller's own service by `callback`, others by the call feed. Each
 * rule is what breaks it.
 */
export const outcomeRules = {
  /** Every finished call with a `callback` is told to its caller's own service, at least once. */
  *untold({ intents, calls, broadcasts }) {
    for (const call of withCallback(intents, calls)) {
      const told = (broadcasts.told.get(call.id) ?? []).filter(({ taken }) => taken);
      for (const answer of lasting(call)) {
        if (told.some((each) => isToldOf(each, answer))) continue;
        yield { ...named(call), what: `its callback never brought ${nameOf(answer)}` };
      }
    }
  },

  /** A callback brings the answer of the call that it names, and only where one was asked for. */
  *mistold({ intents, calls, broadcasts }) {
    const wanted = new Set([...withCallback(intents, calls)].map(({ id }) => id));
    for (const [id, told] of broadcasts.told) {
      const call = calls.get(id);
      const wrong = told.find((each) => call === undefined || !wanted.has(id) || !isAnswerOf(call, each));
      if (!wrong) continue;
      const what = `its callback brought ${wrong.status} ${wrong.nonce ?? wrong.error ?? ''}, which it was not answered`;
      yield call === undefined ? { call: id, what } : { ...named(call), what };
    }
  },

  /** Every finished call that its service has seen is in the call feed, with the answer that its caller got. */
  *unreported({ calls, broadcasts }) {
    // That it is there at the end is for another rule to ask.
    if (!broadcasts.subscribed.has(`audit/${callFeed}`)) return;
    for (const call of calls.values()) {
      if (call.attempted.length === 0) continue;
      const reported = (broadcasts.reported.get(call.id) ?? []).filter(({ taken }) => taken);
      for (const answer of lasting(call)) {
        // Who ends a call because its time is over may not know of an attempt that was cut short.
        if (reasonOf(answer) === 'deadline-exceeded') continue;
        if (reported.some((each) => isReportOf(each, answer))) continue;
        yield { ...named(call), what: `the call feed never brought ${nameOf(answer)}` };
      }
    }
  },

  /** The call feed has no other answers than those that were given, and one event for each. */
  *misreported({ calls, broadcasts }) {
    for (const [id, reported] of broadcasts.reported) {
      const call = calls.get(id);
      const real = call?.answered.filter(isReal) ?? [];
      const wrong = reported.find(
        ({ outcome, nonce }) => outcome === 'answered' && real.every((a) => a.echo?.nonce !== nonce),
      );
      if (wrong) {
        const what = `the call feed brought ${wrong.status} ${wrong.nonce ?? ''}, which it was not answered`;
        yield call === undefined ? { call: id, what } : { ...named(call), what };
      }
      const events = new Set(reported.filter(({ outcome }) => outcome === 'answered').map(({ event }) => event));
      if (events.size > 1 && call !== undefined) {
        yield { ...named(call), what: `its answer became the events ${[...events].join(' and ')}` };
      }
    }
  },
} as const satisfies Record<string, Rule>;

function* withCallback(intents: Evidence['intents'], calls: Evidence['calls']): Generator<Call, void, undefined> {
  for (const intent of intents.values()) {
    if (!intent.invokes.some(({ callback }) => callback === true)) continue;
    for (const id of intent.calls) yield calls.get(id)!;
  }
}

/**
 * The answers that a call stayed with: the last one, and what it was given up with until an operator replayed it. Each
 * once.
 */
function lasting({ answered, replayed }: Call): Answered[] {
  const kept = answered.filter((answer, index) => {
    const next = answered[index + 1];
    return next === undefined || replayed.some((at) => answer.at <= at && at <= next.at);
  });
  return kept.filter((answer, index) => kept.findIndex((other) => nameOf(other) === nameOf(answer)) === index);
}

function reasonOf({ outcome, error }: Answered): string | undefined {
  return outcome ?? error;
}

function isToldOf({ status, nonce, error }: Told, answer: Answered): boolean {
  return status === answer.status && nonce === answer.echo?.nonce && error === answer.error;
}

/** What a call was answered, or what it could have been: one that nobody asked for before another came in its place. */
function isAnswerOf(call: Call, { status, nonce, error }: Told): boolean {
  if (error !== undefined) return call.letters.includes(error) || call.answered.some((a) => reasonOf(a) === error);
  const known = call.answered.some((answer) => answer.status === status && answer.echo?.nonce === nonce);
  return known || (status === 503 && call.attempted.some((each) => each.nonce === nonce && !each.executed));
}

function isReportOf({ status, nonce, outcome }: Reported, answer: Answered): boolean {
  return status === answer.status && nonce === answer.echo?.nonce && outcome === (reasonOf(answer) ?? 'answered');
}

function named({ id, tokens: [token] }: Call): Pick<Finding, 'token' | 'call'> {
  return token === undefined ? { call: id } : { call: id, token };
}

function nameOf(answer: Answered): string {
  return [answer.status, reasonOf(answer), answer.echo?.nonce].filter((part) => part !== undefined).join(' ');
}
