import { CallIds, newInstanceTag } from '../../model/call-id.ts';
import { decodeResponse } from '../../model/codec.ts';
import type { ActionEvent } from '../../model/call.ts';
import type { Attachment, AwaitedResponse, CallerLog, ContentClaim, FoundCall, Stored } from '../port.ts';
import { BrokerUnavailable } from '../port.ts';
import { AwaitedResponses } from './awaited.ts';
import { packAction } from './packing.ts';
import type { Withdrawn } from './protocol.ts';
import type { DatabaseThread } from './thread.ts';

/** The calls that one service makes, on the embedded log. */
export class SqliteCallerLog implements CallerLog {
  readonly #thread: DatabaseThread;
  readonly #caller: string;
  readonly #instance: string;
  readonly #report: (error: Error) => void;
  readonly #ids = new CallIds(newInstanceTag());
  readonly awaited: AwaitedResponses;

  constructor(thread: DatabaseThread, caller: string, instance: string, report: (error: Error) => void) {
    this.#thread = thread;
    this.#caller = caller;
    this.#instance = instance;
    this.#report = report;
    this.awaited = new AwaitedResponses(thread, caller);
  }

  prepare(): void {
    // The tables are there for all services.
  }

  newCallId(service: string): string {
    return this.#ids.next(service);
  }

  async store(action: ActionEvent): Promise<Stored> {
    this.awaited.expectRound(action.id, action.round);
    const stored = await this.#thread.ask('store', packAction(action));
    if (stored.kind === 'finished') return { kind: 'finished', response: decodeResponse(stored.event) };
    if (stored.kind === 'accepted') return stored;
    this.awaited.expectRound(action.id, stored.round);
    return { kind: 'open', fingerprint: stored.fingerprint };
  }

  await(id: string): AwaitedResponse {
    return this.awaited.add(id);
  }

  async find(id: string): Promise<FoundCall | undefined> {
    const result = await this.#thread.ask('find', { id, caller: this.#caller });
    if (result === undefined) return undefined;
    if (result.kind === 'finished') {
      return { kind: 'finished', response: decodeResponse(result.event), delivered: result.delivered };
    }
    this.awaited.expectRound(id, result.found.call.round);
    return result.found;
  }

  markDelivered(id: string, round: number): void {
    this.#thread.ask('delivered', { id, round, caller: this.#caller }).catch((error: Error) => this.#report(error));
  }

  noteAttached(id: string, how: Attachment['how']): void {
    const attachment = { how, at: Date.now(), instance: this.#instance };
    this.#thread.ask('attached', { id, attachment }).catch((error: Error) => {
      // What cannot be written now is missing in a story, and nowhere else.
      if (!(error instanceof BrokerUnavailable)) this.#report(error);
    });
  }

  async claim({ key, id, instead }: ContentClaim): Promise<string> {
    return await this.#thread.ask('claim', { caller: this.#caller, key, id, instead });
  }

  async withdraw(id: string, outcome: 'cancelled' | 'deadline-exceeded'): Promise<Withdrawn> {
    return await this.#thread.ask('withdraw', { id, caller: this.#caller, outcome });
  }
}
