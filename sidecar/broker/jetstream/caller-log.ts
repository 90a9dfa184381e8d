import { headers as newHeaders } from '@nats-io/transport-node';
import { factsOf, type ActionEvent, type CallFacts, type ResponseEvent } from '../../model/call.ts';
import { CallIds, isCallId, newInstanceTag, readCallId, serviceHint } from '../../model/call-id.ts';
import { decodeAction, decodeDeadLetter, decodeResponse } from '../../model/codec.ts';
import type { Attachment, AwaitedResponse, CallActivity, CallerLog, ContentClaim, FoundCall, Stored } from '../port.ts';
import { BrokerUnavailable } from '../port.ts';
import { storeAction } from './action-log.ts';
import { AwaitedResponses } from './awaited.ts';
import { claimContent } from './content-claims.ts';
import type { Context } from './context.ts';
import { ask } from './control.ts';
import { recordHeaders } from './envelope.ts';
import { findAction, findWaiting } from './order-queue.ts';
import { OldLetters } from './old-letters.ts';
import { endsRound } from './precedence.ts';
import { withdraw } from './withdrawal.ts';

/** How often a keyed action whose fate keeps changing under us is looked up again before the caller is told 503. */
const RACES = 20;

const nothing = new Uint8Array(0);

export class JetStreamCallerLog implements CallerLog {
  readonly #context: Context;
  readonly #caller: string;
  readonly #ids: CallIds;
  readonly #awaited: AwaitedResponses;
  readonly #oldLetters: OldLetters;
  /** Marks of deliveries on their way to the broker, by subject: what follows in this process must know of them already. */
  readonly #marking = new Set<string>();

  constructor(context: Context, caller: string) {
    this.#context = context;
    this.#caller = caller;
    const tag = newInstanceTag();
    this.#ids = new CallIds(tag);
    const { connection, subjects, lookup } = context;
    this.#oldLetters = new OldLetters(context, caller);
    this.#awaited = new AwaitedResponses(connection, subjects, lookup, caller, tag, context.report);
    connection.onUp(() => {
      const { streams } = context;
      for (const spec of [
        streams.responses(caller),
        streams.keyed(caller),
        streams.answers(caller),
        streams.keyedAnswers(caller),
      ]) {
        context.streams.ensureForGood(spec, true, context.closing, context.report).catch(context.report);
      }
      // Each keyed store looks there first, which costs a second question while the stream does not exist.
      context.streams
        .ensureForGood(context.streams.dead(), false, context.closing, context.report)
        .catch(context.report);
    });
  }

  prepare(services: readonly string[]): void {
    const { streams, closing, report } = this.#context;
    for (const service of services) {
      streams.ensureForGood(streams.actions(service), false, closing, report).catch(report);
    }
  }

  newCallId(service: string): string {
    return this.#ids.next(service);
  }

  await(id: string): AwaitedResponse {
    return this.#awaited.add(id);
  }

  async store(action: ActionEvent): Promise<Stored> {
    const { bodies } = this.#context;
    const { bodyRef } = action;
    if (bodyRef === undefined || bodies.isOf(bodyRef, action)) return await this.#store(action);
    // Its subjects name the call that it belongs to, which is how it is known later whether anything refers to it.
    const own = await bodies.copy(bodyRef, action);
    let superfluous = own;
    try {
      const stored = await this.#store({ ...action, bodyRef: own });
      if (stored.kind === 'accepted') superfluous = bodyRef;
      return stored;
    } finally {
      await bodies.forget(superfluous);
    }
  }

  async #store(action: ActionEvent): Promise<Stored> {
    if (action.round > 1) this.#awaited.expectRound(action.id, action.round);
    else if (action.keyed) {
      const unknown = await this.#unknownOutcome(action);
      if (unknown !== undefined) return { kind: 'finished', response: unknown };
    }
    const result = await storeAction(this.#context, action);
    // Nobody else makes the id of a call without a key, so what was there before is an earlier send of ours.
    if (result === 'stored' || !action.keyed) return { kind: 'accepted' };
    return await this.#already(action);
  }

  /**
   * A letter outlives the answer under its key, and as long as it lies there nobody knows whether the call was carried out: the key
   * must not start it again.
   */
  async #unknownOutcome({ service, id }: ActionEvent): Promise<ResponseEvent | undefined> {
    const { lookup, subjects } = this.#context;
    if (!(await this.#mayHaveOldLetters())) return undefined;
    const stored = await lookup.last(subjects.deadStream(), subjects.dead(service, this.#caller, id), false);
    if (stored === undefined) return undefined;
    const { action, reason, history, diedAt } = decodeDeadLetter(stored.data);
    if (reason !== 'outcome-unknown') return undefined;
    const { fingerprint } = action;
    return { call: factsOf(action), outcome: reason, fingerprint, attempts: history, finishedAt: diedAt };
  }

  async #mayHaveOldLetters(): Promise<boolean> {
    try {
      return await this.#oldLetters.mayBe();
    } catch {
      // Then the letter itself is asked for, and whoever asks is told where that fails, too.
      return true;
    }
  }

  /** The key is taken: by a call that is open, or by one that finished in the meantime. */
  async #already(action: ActionEvent): Promise<Stored> {
    for (let race = 0; race < RACES; race++) {
      const open = await this.#open(action.service, action.id);
      const response = await this.#response(action.id);
      // An action may be there for a moment after its response is.
      const isOver = response !== undefined && (open === undefined || endsRound(response, open.round));
      if (isOver && endsRound(response, action.round)) return { kind: 'finished', response };
      if (open !== undefined && !isOver) {
        this.#awaited.expectRound(action.id, open.round);
        return { kind: 'open', fingerprint: open.fingerprint };
      }
    }
    throw new BrokerUnavailable(
      `call ${action.id} is remembered as stored, but neither it nor its answer can be found`,
    );
  }

  async #open(service: string, id: string): Promise<ActionEvent | undefined> {
    return (await findAction(this.#context, { callee: service, caller: this.#caller, id }))?.action;
  }

  async #action(service: string, id: string): Promise<ActionEvent | undefined> {
    const { lookup, subjects } = this.#context;
    const stored = await lookup.last(subjects.actionStream(service), subjects.action(service, this.#caller, id));
    return stored === undefined ? undefined : decodeAction(stored.data);
  }

  async #response(id: string): Promise<ResponseEvent | undefined> {
    const { lookup, subjects } = this.#context;
    const stream = subjects.responseStreamOf(this.#caller, id);
    const stored = await lookup.last(stream, subjects.response(this.#caller, id));
    return stored === undefined ? undefined : decodeResponse(stored.data);
  }

  async find(id: string, callee?: string): Promise<FoundCall | undefined> {
    if (!isCallId(id)) return undefined;
    if (callee !== undefined) return await this.#findAt(callee, id);
    // The response first: an open call that finishes in between is then found on the second look.
    for (let look = 0; look < 2; look++) {
      const response = await this.#response(id);
      if (response !== undefined && !(await this.#superseded(response))) {
        // What finished while we looked had been delivered to nobody when we were asked.
        const delivered = look === 0 && readCallId(id).keyed && (await this.#delivered(id, response.call.round));
        return { kind: 'finished', response, delivered };
      }
      const action = await this.#search(id);
      if (action !== undefined) return await this.#found(action);
    }
    return undefined;
  }

  /** The action first: where it is gone because its call was finished meanwhile, the response is there. */
  async #findAt(callee: string, id: string): Promise<FoundCall | undefined> {
    const action = await this.#open(callee, id);
    const response = await this.#response(id);
    if (response !== undefined && (action === undefined || endsRound(response, action.round))) {
      return { kind: 'finished', response, delivered: await this.#delivered(id, response.call.round) };
    }
    return action === undefined ? undefined : await this.#found(action);
  }

  async #found(action: ActionEvent): Promise<FoundCall> {
    this.#awaited.expectRound(action.id, action.round);
    const call = factsOf(action);
    return { kind: 'open', call, fingerprint: action.fingerprint, activity: await this.#activity(call) };
  }

  /** A dead letter that is being carried out again: its stored response is about to be replaced. */
  async #superseded(response: ResponseEvent): Promise<boolean> {
    if (response.outcome === 'answered' || response.outcome === 'cancelled') return false;
    const open = await this.#open(response.call.service, response.call.id);
    return open !== undefined && open.round > response.call.round;
  }

  /** The open action with this id. An id names its callee only by a hint, so there may be several places to look. */
  async #search(id: string): Promise<ActionEvent | undefined> {
    const { streams, subjects } = this.#context;
    const { hint } = readCallId(id);
    const manager = await streams.manager();
    const names: string[] = [];
    let found: ActionEvent | undefined;
    try {
      // Actions, and calls that wait for their turn.
      for await (const name of manager.streams.names(`${subjects.ns}.*.*.${this.#caller}.${id}`)) names.push(name);
    } catch (error) {
      throw new BrokerUnavailable(`listing streams: ${(error as Error).message}`, { cause: error });
    }
    for (const name of names) {
      const read = subjects.readStream(name);
      if (read === undefined || serviceHint(read.service) !== hint) continue;
      const { kind, service: callee } = read;
      const caller = this.#caller;
      let action: ActionEvent | undefined;
      if (kind === 'ordered') action = await findWaiting(this.#context, { callee, caller, id });
      else if (kind === 'actions') action = await this.#action(callee, id);
      // The copy of a round that has ended may still be there when the next one waits.
      if (action !== undefined && action.round > (found?.round ?? 0)) found = action;
    }
    return found;
  }

  async #activity(call: CallFacts): Promise<CallActivity> {
    const { connection, subjects } = this.#context;
    const replies = await ask(connection, subjects, call.service, { op: 'locate', ids: [call.id] });
    return replies.some((reply) => reply.sending.includes(call.id)) ? 'attempting' : 'waiting';
  }

  async #delivered(id: string, round: number): Promise<boolean> {
    const { lookup, subjects } = this.#context;
    const subject = subjects.delivered(this.#caller, id, round);
    return this.#marking.has(subject) || (await lookup.last(subjects.keyedStream(this.#caller), subject)) !== undefined;
  }

  markDelivered(id: string, round: number): void {
    const { publisher, subjects, streams, report } = this.#context;
    const subject = subjects.delivered(this.#caller, id, round);
    this.#marking.add(subject);
    publisher
      .publish({
        subject,
        payload: nothing,
        headers: newHeaders(),
        patience: 'keep',
        ensureStream: async () => void (await streams.ensure(streams.keyed(this.#caller))),
      })
      .catch((error: Error) => report(error))
      .finally(() => this.#marking.delete(subject));
  }

  noteAttached(id: string, how: Attachment['how']): void {
    const { publisher, subjects, streams, instance, report } = this.#context;
    const subject = subjects.attached(this.#caller, id, instance, how);
    publisher
      .publish({
        subject,
        payload: Buffer.from(JSON.stringify({ at: Date.now() })),
        headers: recordHeaders(0),
        patience: 'now',
        ensureStream: async () => void (await streams.ensure(streams.keyed(this.#caller))),
      })
      .catch((error: Error) => {
        // What a broker that is away does not remember is missing in a story, and nowhere else.
        if (!(error instanceof BrokerUnavailable)) report(error);
      });
  }

  claim(claim: ContentClaim): Promise<string> {
    return claimContent(this.#context, this.#caller, claim);
  }

  async withdraw(
    id: string,
    outcome: 'cancelled' | 'deadline-exceeded',
  ): Promise<'withdrawn' | 'started' | 'finished' | 'unknown'> {
    const found = await this.find(id);
    if (found === undefined) return 'unknown';
    if (found.kind === 'finished') return 'finished';
    const { service: callee, caller } = found.call;
    const results = await withdraw(this.#context, [{ callee, caller, id }], outcome, false);
    const result = results.get(id) ?? 'unknown';
    // It was open a moment ago, so an action that is gone now was finished by its callee's sidecar.
    return result === 'unknown' ? 'finished' : result;
  }

  close(): void {
    this.#awaited.close();
  }
}
