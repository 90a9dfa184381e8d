import {
  factsOf,
  isDeadLetter,
  nextRound,
  type ActionEvent,
  type CallFacts,
  type ResponseEvent,
} from '../../model/call.ts';
import { isCallId } from '../../model/call-id.ts';
import { encodeResponse, type StoredDeadLetter } from '../../model/codec.ts';
import type {
  CallListing,
  CallQuery,
  CallState,
  CallStory,
  DeadLetter,
  DeadLetterQuery,
  OperatorLog,
} from '../port.ts';
import type { SubscriptionRegister } from '../subscriptions.ts';
import { storeAction } from './action-log.ts';
import type { Topology } from '../topology.ts';
import { chart } from './chart.ts';
import type { Context } from './context.ts';
import { ask } from './control.ts';
import { Directory } from './directory.ts';
import { responseHeaders } from './envelope.ts';
import { redeliver } from './redelivery.ts';
import { dropDeadLetter, dropEarlierLetter } from './settlement.ts';
import { JetStreamSubscriptionRegister } from './subscription-register.ts';
import { withdraw } from './withdrawal.ts';

/** Dead letters read to find those that match a filter which the subject does not carry. */
const LETTERS_READ = 100_000;

export class JetStreamOperatorLog implements OperatorLog {
  readonly #context: Context;
  readonly #directory: Directory;
  readonly subscriptions: SubscriptionRegister;

  constructor(context: Context) {
    this.#context = context;
    this.#directory = new Directory(context);
    this.subscriptions = new JetStreamSubscriptionRegister(context, this.#directory);
  }

  async calls(query: CallQuery): Promise<CallListing[]> {
    const listed = new Map<string, CallListing>();
    const add = (listing: CallListing) => {
      const { call } = listing;
      if (query.caller !== undefined && call.caller !== query.caller) return;
      if (query.service !== undefined && call.service !== query.service) return;
      if (query.state !== undefined && listing.state !== query.state) return;
      const known = listed.get(call.id);
      if (known === undefined || known.call.round < call.round) listed.set(call.id, listing);
    };
    // A filter that the place does not tell needs more to choose from.
    const depth =
      query.state === undefined && query.service === undefined ? query.limit : Math.max(query.limit * 20, 1_000);
    const callers = new Set([
      ...(await this.#directory.services('responses')),
      ...(await this.#directory.services('keyed')),
    ]);
    for (const caller of callers) {
      if (query.caller !== undefined && query.caller !== caller) continue;
      for (const response of await this.#directory.responses(caller, depth)) {
        if (response.outcome !== 'discarded') add(finishedListing(response));
      }
    }
    for (const letter of await this.#directory.deadLetters(depth, query.service)) {
      if (letter.action.delivery === undefined) add(deadListing(letter));
    }
    for (const service of new Set([
      ...(await this.#directory.services('actions')),
      ...(await this.#directory.services('ordered')),
    ])) {
      if (query.service !== undefined && query.service !== service) continue;
      const actions = await this.#directory.openCalls(service, depth);
      for (const listing of await this.#openListings(service, actions)) add(listing);
    }
    return [...listed.values()].toSorted((a, b) => b.call.acceptedAt - a.call.acceptedAt).slice(0, query.limit);
  }

  async #openListings(service: string, actions: readonly ActionEvent[]): Promise<CallListing[]> {
    if (actions.length === 0) return [];
    const { connection, subjects } = this.#context;
    const replies = await ask(connection, subjects, service, { op: 'locate', ids: actions.map((action) => action.id) });
    const sending = new Set(replies.flatMap((reply) => reply.sending));
    const hasRecord = new Set(
      (await this.#directory.subjectsIn(subjects.attemptStream(service), '>')).map((subject) =>
        subject.split('.').at(-2),
      ),
    );
    return await Promise.all(
      actions.map(async (action) => {
        const record = hasRecord.has(action.id) ? await this.#directory.progress(action) : undefined;
        const made = action.earlier.length + (record?.progress.attempts.length ?? 0);
        const attempting = sending.has(action.id);
        return {
          call: factsOf(action),
          state: attempting ? 'attempting' : 'waiting',
          attempts: made + (attempting ? 1 : 0),
        } as const;
      }),
    );
  }

  async call(id: string): Promise<CallStory | undefined> {
    if (!isCallId(id)) return undefined;
    const action = await this.#directory.openCall(id);
    if (action !== undefined) return await this.#openStory(action);
    const found = await this.#directory.response(id);
    if (found !== undefined && found.response.outcome !== 'discarded') {
      const { response } = found;
      const { call: facts, outcome, attempts: history, trace } = response;
      return {
        ...finishedListing(response),
        outcome,
        history,
        ...(facts.keyed && { delivered: await this.#isDelivered(facts), ...(await this.#attachedTo(facts)) }),
        ...(trace !== undefined && { trace }),
      };
    }
    const letter = await this.#directory.deadLetter(id);
    return letter === undefined || letter.action.delivery !== undefined
      ? undefined
      : {
          ...deadListing(letter),
          outcome: letter.reason,
          history: letter.history,
          ...(letter.trace !== undefined && { trace: letter.trace }),
        };
  }

  async #isDelivered({ id, round, caller }: CallFacts): Promise<boolean> {
    const { lookup, subjects } = this.#context;
    return (
      (await lookup.last(subjects.keyedStream(caller), subjects.delivered(caller, id, round), false)) !== undefined
    );
  }

  async #attachedTo({ id, caller }: CallFacts): Promise<Pick<CallStory, 'attached'>> {
    const attached = await this.#directory.attachments(caller, id);
    return attached.length === 0 ? {} : { attached };
  }

  async #openStory(action: ActionEvent): Promise<CallStory> {
    const [listing] = await this.#openListings(action.service, [action]);
    const record = await this.#directory.progress(action);
    const progress = record?.progress;
    const history = [...action.earlier, ...(progress?.attempts ?? [])];
    const notBefore = progress?.notBefore;
    const backingOff = notBefore !== undefined && notBefore > Date.now();
    const waitingFor =
      listing!.state === 'attempting'
        ? `the answer of ${action.service}`
        : backingOff
          ? 'its next attempt'
          : (await this.#directory.isQueued(action))
            ? 'the calls before it with the same order key'
            : `a sidecar of ${action.service} with a free slot and a service that is up`;
    const { trace } = action;
    return {
      ...listing!,
      history,
      waitingFor,
      ...(backingOff && { notBefore }),
      ...(action.keyed && (await this.#attachedTo(factsOf(action)))),
      ...(trace !== undefined && { trace }),
    };
  }

  async cancel(id: string): Promise<'withdrawn' | 'started' | 'finished' | 'unknown'> {
    if (!isCallId(id)) return 'unknown';
    const action = await this.#directory.openCall(id);
    if (action === undefined) return (await this.call(id)) === undefined ? 'unknown' : 'finished';
    const { service: callee, caller } = action;
    const results = await withdraw(this.#context, [{ callee, caller, id }], 'cancelled');
    const result = results.get(id) ?? 'unknown';
    return result === 'unknown' ? 'finished' : result;
  }

  async deadLetters(query: DeadLetterQuery): Promise<DeadLetter[]> {
    const filtered = query.route !== undefined || query.reason !== undefined;
    const letters = await this.#directory.deadLetters(filtered ? LETTERS_READ : query.limit, query.service);
    return letters
      .filter((letter) => query.route === undefined || letter.action.route === query.route)
      .filter((letter) => query.reason === undefined || letter.reason === query.reason)
      .toSorted((a, b) => b.diedAt - a.diedAt)
      .slice(0, query.limit)
      .map(present);
  }

  async deadLetter(id: string): Promise<DeadLetter | undefined> {
    if (!isCallId(id)) return undefined;
    const letter = await this.#directory.deadLetter(id);
    return letter === undefined ? undefined : present(letter);
  }

  async replay(id: string): Promise<'replayed' | 'unknown'> {
    const letter = isCallId(id) ? await this.#directory.deadLetter(id) : undefined;
    if (letter === undefined) return 'unknown';
    if (letter.action.delivery !== undefined) {
      await redeliver(this.#context, letter);
      return 'replayed';
    }
    // Whoever stored this round first, it is under way now.
    const next = nextRound(letter.action, letter.history, Date.now());
    if ((await storeAction(this.#context, next)) === 'known') await dropEarlierLetter(this.#context, next);
    return 'replayed';
  }

  async topology(windowMs: number): Promise<Topology> {
    return await chart(this.#context, this.#directory, windowMs);
  }

  async discard(id: string): Promise<'discarded' | 'unknown'> {
    const letter = isCallId(id) ? await this.#directory.deadLetter(id) : undefined;
    if (letter === undefined) return 'unknown';
    const { publisher, subjects, streams } = this.#context;
    const { action } = letter;
    if (action.delivery !== undefined) {
      await dropDeadLetter(this.#context, action);
      return 'discarded';
    }
    const found = await this.#directory.response(id);
    if (found === undefined || isDeadLetter(found.response.outcome)) {
      // The place of the answer stays taken, by a mark that frees the key: the round must go on counting, or the broker would
      // take the next call under this key for a duplicate of this one.
      const mark: ResponseEvent = {
        call: factsOf(action),
        outcome: 'discarded',
        fingerprint: '',
        attempts: [],
        finishedAt: Date.now(),
      };
      const spec = action.keyed ? streams.keyed(action.caller) : streams.responses(action.caller);
      await publisher.publish({
        subject: subjects.response(action.caller, id),
        payload: encodeResponse(mark),
        headers: responseHeaders(mark, found?.seq ?? 0),
        patience: 'now',
        ensureStream: async () => void (await streams.ensure(spec)),
      });
    }
    await dropDeadLetter(this.#context, action);
    if (action.bodyRef !== undefined) await this.#context.bodies.forget(action.bodyRef);
    return 'discarded';
  }
}

function finishedListing(response: ResponseEvent): CallListing {
  const { call, outcome, answer, attempts, finishedAt } = response;
  const state: CallState = outcome === 'answered' ? 'answered' : outcome === 'cancelled' ? 'cancelled' : 'dead';
  return { call, state, ...(answer !== undefined && { status: answer.status }), attempts: attempts.length, finishedAt };
}

function deadListing({ action, status, history, diedAt }: StoredDeadLetter): CallListing {
  const base = { call: factsOf(action), state: 'dead', attempts: history.length, finishedAt: diedAt } as const;
  return status === undefined ? base : { ...base, status };
}

function present({ action, reason, diedAt, status, history }: StoredDeadLetter): DeadLetter {
  return { call: factsOf(action), reason, diedAt, history, ...(status !== undefined && { status }) };
}
