import { broadcastRules } from './broadcast-rules.ts';
import { aftermath, breakingFaults, freezing, jumps, sides, touched } from './causes.ts';
import { type Call, type Evidence, type Intent, isReal } from './evidence.ts';
import type { Finding, Rule } from './finding.ts';
import type { Answered } from './history.ts';
import { outcomeRules } from './outcome-rules.ts';
import { attaches } from './workload.ts';

/** One broken promise. */
export interface Violation extends Finding {
  readonly rule: RuleName;
}

/** How far clock readings of different processes may be apart from what they stand for, ms. */
const tolerance = 1_000;
/** What Holdline may refuse with while the system suffers; nothing was accepted then. */
const expectedRefusals = new Set(['broker-unavailable', 'overloaded', 'shutting-down', 'unreachable']);
/** Dead letters that a key may start again. */
const restartable = new Set(['exhausted', 'deadline-exceeded']);

/** The promises of the contract, each as what breaks it. The history must be complete: healed and settled. */
export const rules = {
  /** A durable promise: what was acknowledged is answered or a dead letter. */
  *lost({ calls }) {
    for (const call of calls.values()) {
      if (call.answered.length > 0 || call.letter !== undefined || !isPromised(call)) continue;
      yield of(call, 'it was acknowledged and has neither an answer nor a dead letter');
    }
  },

  /** A call id that was given out stays known (no run is as long as the retention). */
  *vanished({ calls }) {
    for (const call of calls.values()) {
      if (call.missing.length > 0 && (isPromised(call) || call.listed)) {
        yield of(call, `a look-up was told ${call.missing.length} times that there is no such call`);
      }
    }
  },

  /** Nothing waits for ever. */
  *unsettled({ calls }) {
    for (const call of calls.values()) {
      const state = call.listed?.state;
      if (state === 'waiting' || state === 'attempting') yield of(call, `it is still ${state} at the end`);
    }
  },

  /** `idempotent: false` is executed at most once; a replay by an operator is one more permission. */
  *doubled({ intents, calls }) {
    for (const intent of intents.values()) {
      if (intent.invokes.some(({ idempotent }) => idempotent)) continue;
      const executions = intent.attempted.filter(({ executed }) => executed);
      const replays = [...intent.calls].reduce((sum, id) => sum + (calls.get(id)?.replayed.length ?? 0), 0);
      if (executions.length > purchases(intent) + replays)
        yield by(intent, `it was executed ${executions.length} times`);
    }
  },

  /**
   * An intent is one call: without a key it was sent once, and a key never becomes two calls. A content does only where
   * the answer may have been delivered, to a connection that then broke.
   */
  *divided({ intents }) {
    for (const intent of intents.values()) {
      if (intent.calls.size > purchases(intent))
        yield by(intent, `it became the calls ${[...intent.calls].join(' and ')}`);
    }
  },

  /** An answer belongs to the call that it answers. */
  *swapped({ calls }) {
    for (const call of calls.values()) {
      if (call.tokens.size > 1) yield of(call, `it carries the intents ${[...call.tokens].join(' and ')}`);
      for (const { echo } of call.answered) {
        if (echo && call.tokens.size > 0 && !call.tokens.has(echo.token)) {
          yield of(call, `it was answered with what belongs to ${echo.token}`);
        }
      }
    }
  },

  /** The callee's answer comes from an execution: at least one happened, and this is what it said. */
  *invented({ calls }) {
    for (const call of calls.values()) {
      const said = new Set(call.attempted.map(({ nonce }) => nonce));
      const wrong = call.answered.find((answer) => isReal(answer) && !said.has(answer.echo?.nonce ?? ''));
      if (wrong) yield of(call, `no attempt gave the answer ${wrong.status} ${wrong.echo?.nonce ?? ''}`);
    }
  },

  /** One stored response: all answers to a call are byte-identical, dead letters that were carried out aside. */
  *contradicted({ intents, calls }) {
    for (const call of calls.values()) {
      const keyed = [...call.tokens].some((token) => intents.get(token)?.invokes.some(attaches));
      const what = contradiction(call, keyed);
      if (what !== undefined) yield of(call, what);
    }
  },

  /** A refusal means that nothing was accepted. */
  *betrayed({ intents }) {
    for (const intent of intents.values()) {
      const refusals = intent.refused.length;
      if (refusals === 0 || refusals < intent.invokes.length || intent.attempted.length === 0) continue;
      const codes = new Set(intent.refused.map(({ code }) => code));
      yield by(
        intent,
        `every request was refused (${[...codes].join(', ')}), and it was sent to the callee all the same`,
      );
    }
  },

  /** No other refusal than those of a system that suffers. */
  *misjudged({ intents, broadcasts }) {
    for (const { token, refused } of [...intents.values(), ...broadcasts.publications.values()]) {
      const wrong = refused.find(({ code }) => !expectedRefusals.has(code));
      if (wrong) yield { token, what: `it was refused with ${wrong.status} ${wrong.code}` };
    }
  },

  /** A caller that goes on asking with its key gets an answer. */
  *unheard({ intents }) {
    for (const intent of intents.values()) {
      if (!intent.invokes.every(attaches) || intent.answered.length > 0) continue;
      yield by(intent, `${intent.invokes.length} requests with its key brought no answer`);
    }
  },

  /**
   * Calls with one order key run one after another, in the order in which they were acknowledged: once a call has
   * begun, none before it is carried out any more. What an operator replays has lost its place. A request that had
   * been sent to a process before it was frozen cannot be called back.
   */
  *misordered({ intents, calls, faults }) {
    const frozen = faults.filter(({ name, target }) => freezing.has(name) && sides.payments.test(target));
    const thaws = (at: number) => frozen.some(({ from, to }) => from <= at && at <= to + aftermath);
    const queues = Map.groupBy(
      [...intents.values()].filter(({ invokes, accepted }) => invokes[0]?.order && accepted.length > 0),
      ({ invokes }) => invokes[0]?.order?.key,
    );
    for (const [key, queue] of queues) {
      let next: { readonly intent: Intent; readonly at: number } | undefined;
      for (const intent of queue.toSorted((a, b) => positionOf(b) - positionOf(a))) {
        const executions = inPlace(intent, calls);
        const late = executions.find((at) => next !== undefined && at > next.at && !thaws(at));
        if (next && late !== undefined) {
          const later = `${next.intent.token} (${positionOf(next.intent)})`;
          yield by(intent, `in the order of ${key} it (${positionOf(intent)}) was executed after ${later}`);
        }
        const first = executions[0];
        if (first !== undefined && (next === undefined || first < next.at)) next = { intent, at: first };
      }
    }
  },

  /**
   * Nothing is started after its deadline. The time for which a process was frozen on the way does not count, nor do
   * the jumps of the clocks by which deadlines are set and kept.
   */
  *late({ intents, calls, faults }) {
    const frozen = faults.filter(({ name }) => freezing.has(name));
    for (const intent of intents.values()) {
      const limit = intent.invokes.find(({ deadline }) => deadline !== undefined)?.deadline;
      if (limit === undefined) continue;
      for (const { at, call } of intent.attempted) {
        const accepted = acceptedAt(calls.get(call), intent);
        if (accepted === undefined) continue;
        const asleep = frozen.reduce(
          (sum, { from, to }) => sum + Math.max(0, Math.min(at, to) - Math.max(accepted, from)),
          0,
        );
        const late = at - accepted - limit - asleep - jumps(faults, accepted, at);
        if (late > tolerance)
          yield by(intent, `it was sent to the callee ${Math.round(late)} ms after its deadline`, call);
      }
    }
  },

  /** A dead letter is a call that was given up; one that has the callee's answer is none. */
  *undead({ calls }) {
    for (const call of calls.values()) {
      const last = call.answered.at(-1);
      if (!last) continue;
      if (call.letter !== undefined && isReal(last)) {
        yield of(call, `it is answered, and on the list of dead letters (${call.letter})`);
      }
      const reason = last.outcome ?? last.error;
      if (call.letter === undefined && reason !== undefined && reason !== 'cancelled') {
        yield of(call, `its answer says ${reason}, and it is not on the list of dead letters`);
      }
    }
  },

  /** A call that was cancelled is one of which nothing was sent, and nothing will be. */
  *revived({ calls }) {
    for (const call of calls.values()) {
      if (call.cancelled.length > 0 && call.attempted.length > 0) {
        yield of(call, 'a caller was told that it is cancelled, and it was sent to the callee all the same');
      }
    }
  },

  /**
   * Retries follow evidence: without a fault that breaks attempts no call is given up for broken attempts, and none for
   * a deadline that it does not have, or not yet.
   */
  *forsaken({ intents, calls, faults }) {
    for (const call of calls.values()) {
      const [reason = ''] = call.letters;
      const reasons = breakingFaults[reason];
      const invokes = [...call.tokens].flatMap((token) => intents.get(token)?.invokes ?? []);
      const times = [...invokes, ...call.accepted, ...call.answered, ...call.attempted].map(({ at }) => at);
      const given = call.answered[0]?.at ?? Number.POSITIVE_INFINITY;
      if (reason === 'deadline-exceeded') {
        const [invoke] = invokes;
        const limit = invoke?.deadline ?? Number.POSITIVE_INFINITY;
        if (invoke && given - invoke.at < limit - tolerance - jumps(faults, invoke.at, given)) {
          yield of(call, `it was given up as ${reason}, and its deadline had not passed`);
        }
      }
      if (reasons === undefined || times.length === 0) continue;
      const span = { names: reasons, side: sides.payments, from: Math.min(...times), to: given };
      if (!touched(faults, span))
        yield of(call, `it was given up as ${reason}, and no fault on the callee's side had touched it`);
    }
  },

  /** No process ends by itself. */
  *crashed({ crashes }) {
    for (const { part, detail } of crashes) yield { what: `${part} ended by itself: ${detail}` };
  },

  ...broadcastRules,
  ...outcomeRules,
} as const satisfies Record<string, Rule>;

export type RuleName = keyof typeof rules;

function of({ id, tokens }: Call, what: string): Finding {
  const [token] = tokens;
  return token === undefined ? { call: id, what } : { call: id, token, what };
}

function by({ token, calls }: Intent, what: string, call = [...calls][0]): Finding {
  return call === undefined ? { token, what } : { token, call, what };
}

/** Somebody outside was told of it, or it was carried out: then it exists. */
function isPromised({ accepted, attempted }: Call): boolean {
  return accepted.length > 0 || attempted.length > 0;
}

/** How many calls an intent may become. */
function purchases({ invokes, unknown }: Intent): number {
  return 1 + (invokes.some(({ content }) => content === true) ? unknown.length : 0);
}

function positionOf({ invokes }: Intent): number {
  return invokes[0]?.order?.position ?? 0;
}

/** When it was carried out on its own account, and not because an operator replayed it. */
function inPlace({ attempted }: Intent, calls: Evidence['calls']): number[] {
  return attempted
    .filter(({ at, call, executed }) => executed && !calls.get(call)?.replayed.some((replayed) => replayed <= at))
    .map(({ at }) => at);
}

/** The latest moment from which the deadline can count. */
function acceptedAt(call: Call | undefined, { accepted, answered }: Intent): number | undefined {
  return call?.listed?.acceptedAt ?? accepted[0]?.at ?? answered[0]?.at;
}

function contradiction({ answered, attempted, replayed }: Call, keyed: boolean): string | undefined {
  let settled: Answered | undefined;
  for (const answer of answered) {
    if (settled === undefined || isSame(settled, answer)) {
      settled ??= answer;
      continue;
    }
    const earlier = settled;
    const [then, now] = [nameOf(earlier), nameOf(answer)];
    if (isReal(earlier)) {
      // What was asked for before the real answer was stored may still say what was true before.
      if (!isReal(answer) && answer.asked <= earlier.at) continue;
      return `it was answered with ${then} and later with ${now}`;
    }
    const reason = earlier.outcome ?? earlier.error ?? '';
    const restarted = keyed && restartable.has(reason);
    // An attempt that was under way when nobody believed in it any more brings the answer that counts.
    const underWay = attempted.find(({ nonce }) => isReal(answer) && nonce === answer.echo?.nonce);
    const late = reason === 'outcome-unknown' && underWay !== undefined && underWay.at <= earlier.at;
    if (!restarted && !late && !replayed.some((at) => at < answer.at)) {
      return `it was given up with ${then}, not replayed, and later answered with ${now}`;
    }
    settled = answer;
  }
  return undefined;
}

function isSame(one: Answered, other: Answered): boolean {
  return one.status === other.status && one.digest === other.digest;
}

function nameOf({ status, outcome, error, echo, digest }: Answered): string {
  return [status, outcome ?? error, echo?.nonce, `(${digest.slice(0, 8)})`]
    .filter((part) => part !== undefined)
    .join(' ');
}
