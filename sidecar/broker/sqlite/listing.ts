import { factsOf, isDeadLetter, type Outcome } from '../../model/call.ts';
import { decodeAction, decodeResponse, type StoredDeadLetter } from '../../model/codec.ts';
import type { CallListing, CallQuery, CallState, CallStory, DeadLetter } from '../port.ts';
import type { SubscriptionListing } from '../subscriptions.ts';
import { queueOf, type CallRow } from './call-table.ts';
import type { Ledger } from './ledger.ts';
import { unpackProgress } from './packing.ts';

const outcomesOf: Readonly<Record<CallState, readonly Outcome[]>> = {
  waiting: [],
  attempting: [],
  answered: ['answered'],
  dead: ['exhausted', 'deadline-exceeded', 'outcome-unknown', 'answer-too-large'],
  cancelled: ['cancelled'],
};

/** Calls for `calls list`, newest first. */
export function listCalls(ledger: Ledger, query: CallQuery, now: number): CallListing[] {
  const { state, limit, caller, service } = query;
  const filter = { limit, ...(caller !== undefined && { caller }), ...(service !== undefined && { service }) };
  const open = state === undefined || state === 'waiting' || state === 'attempting';
  const running = state === undefined ? {} : { running: state === 'attempting' };
  const waiting = open ? ledger.calls.list({ ...filter, ...running }).map((row) => storyOfOpen(ledger, row)) : [];
  const outcomes = state === undefined ? undefined : outcomesOf[state];
  const finished =
    outcomes?.length === 0
      ? []
      : ledger.responses
          .list({ ...filter, now, ...(outcomes !== undefined && { outcomes }) })
          .map((row) => storyOfFinished(row.event));
  return [...waiting, ...finished]
    .toSorted((a, b) => b.call.acceptedAt - a.call.acceptedAt)
    .slice(0, limit)
    .map(({ call, state: found, status, attempts, finishedAt }) => ({
      call,
      state: found,
      attempts,
      ...(status !== undefined && { status }),
      ...(finishedAt !== undefined && { finishedAt }),
    }));
}

/** All that is known of one call. */
export function tellCall(ledger: Ledger, id: string, now: number): CallStory | undefined {
  const open = ledger.calls.byId(id);
  if (open !== undefined) return { ...storyOfOpen(ledger, open), ...attachedTo(ledger, id) };
  const response = ledger.responses.byId(id, now);
  if (response === undefined) return undefined;
  const story = storyOfFinished(ledger.responses.event(response.seq));
  return story.call.keyed ? { ...story, delivered: response.delivered === 1, ...attachedTo(ledger, id) } : story;
}

function attachedTo(ledger: Ledger, id: string): Pick<CallStory, 'attached'> {
  const attached = ledger.attachments.of(id);
  return attached.length === 0 ? {} : { attached };
}

/** A dead letter without its bodies. */
export function letterOf(stored: StoredDeadLetter): DeadLetter {
  const { action, reason, diedAt, status, history } = stored;
  return { call: factsOf(action), reason, diedAt, history, ...(status !== undefined && { status }) };
}

function storyOfOpen(ledger: Ledger, row: CallRow): CallStory {
  const action = decodeAction(ledger.calls.action(row.seq));
  const progress = unpackProgress({ progress: ledger.calls.progress(row.seq), started: row.started });
  const history = [...action.earlier, ...progress.attempts];
  const waitingFor = row.running === 1 ? undefined : whatFor(row);
  return {
    call: factsOf(action),
    state: row.running === 1 ? 'attempting' : 'waiting',
    attempts: history.length,
    history,
    ...(progress.answer !== undefined && { status: progress.answer.status }),
    ...(waitingFor !== undefined && { waitingFor }),
    ...(row.not_before > 1 && { notBefore: row.not_before }),
    ...(action.trace !== undefined && { trace: action.trace }),
  };
}

function whatFor(row: CallRow): string | undefined {
  if (row.blocked === 1) return 'an earlier call with the same order key';
  if (row.owner !== null) return 'its turn at a sidecar that has taken it';
  if (row.not_before > 0) return 'the pause before the next attempt';
  return `a sidecar of ${row.service} that takes it`;
}

function storyOfFinished(event: Uint8Array): CallStory {
  const { call, outcome, answer, attempts, finishedAt, trace } = decodeResponse(event);
  return {
    call,
    state: stateOf(outcome),
    outcome,
    attempts: attempts.length,
    history: attempts,
    finishedAt,
    ...(answer !== undefined && { status: answer.status }),
    ...(trace !== undefined && { trace }),
  };
}

function stateOf(outcome: Outcome): CallState {
  if (isDeadLetter(outcome)) return 'dead';
  return outcome === 'cancelled' ? 'cancelled' : 'answered';
}

/** The durable subscriptions, with what waits for each. */
export function listSubscriptions(ledger: Ledger, service: string | undefined, now: number): SubscriptionListing[] {
  return ledger.subscriptions.all(service).map(({ isEnded, ...subscription }): SubscriptionListing => {
    const letters = ledger.letters.list({ service: subscription.service, limit: Number.MAX_SAFE_INTEGER }, now);
    const own = letters.filter(({ action }) => action.delivery?.subscription === subscription.subscription);
    return {
      ...subscription,
      state: isEnded ? 'ended' : 'active',
      ...ledger.backlog(queueOf(subscription.service, subscription.subscription)),
      deadLetters: own.length,
    };
  });
}
