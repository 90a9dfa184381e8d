import type { DatabaseSync } from 'node:sqlite';
import { callbackOf } from '../../http/callback.ts';
import { conclude, factsOf, isDeadLetter, nextRound, type ActionEvent, type ResponseEvent } from '../../model/call.ts';
import { decodeAction, decodeDeadLetter, decodeProgress, decodeResponse } from '../../model/codec.ts';
import type { Published } from '../port.ts';
import { BodyTable } from './body-table.ts';
import { AttachmentTable } from './attachment-table.ts';
import { BroadcastTable } from './broadcast-table.ts';
import { CallTable, queueOf, type CallRow } from './call-table.ts';
import { ContentTable, type ContentRow } from './content-table.ts';
import { LetterTable } from './letter-table.ts';
import { concludeOverdue, packAction, packCallFeed, packResponse, unpackProgress } from './packing.ts';
import type {
  Commands,
  FindResult,
  LeaseName,
  PublishArgs,
  SettleArgs,
  StoreArgs,
  StoreResult,
  ThreadOptions,
  Withdrawn,
} from './protocol.ts';
import { ResponseTable, type ResponseRow } from './response-table.ts';
import { SubscriptionTable } from './subscription-table.ts';
import { becomesResponse, mayWithdraw, settlesRound } from './verdict.ts';

/**
 * What can be done to the calls of one namespace. Every method that writes runs within a transaction of its caller's;
 * nothing is true before that is committed.
 */
export class Ledger {
  readonly calls: CallTable;
  readonly responses: ResponseTable;
  readonly letters: LetterTable;
  readonly broadcasts: BroadcastTable;
  readonly subscriptions: SubscriptionTable;
  readonly contents: ContentTable;
  readonly bodies: BodyTable;
  readonly attachments: AttachmentTable;
  readonly #retention: ThreadOptions['retention'];

  constructor(db: DatabaseSync, ns: number, retention: ThreadOptions['retention']) {
    this.calls = new CallTable(db, ns);
    this.responses = new ResponseTable(db, ns);
    this.letters = new LetterTable(db, ns);
    this.broadcasts = new BroadcastTable(db, ns);
    this.subscriptions = new SubscriptionTable(db, ns, this.broadcasts, this.calls);
    this.contents = new ContentTable(db, ns);
    this.bodies = new BodyTable(db, ns);
    this.attachments = new AttachmentTable(db, ns);
    this.#retention = retention;
  }

  store(call: StoreArgs, now: number): StoreResult {
    const open = this.calls.byId(call.id);
    if (open !== undefined) {
      // Nobody else makes an id without a key.
      if (call.repeated === true && !call.keyed && open.round === call.round) return { kind: 'accepted' };
      return { kind: 'open', fingerprint: open.fingerprint, round: open.round };
    }
    const response = this.responses.byId(call.id, now);
    if (response !== undefined && settlesRound(response, call.round)) {
      return { kind: 'finished', event: this.responses.event(response.seq) };
    }
    this.#open(call);
    return { kind: 'accepted' };
  }

  /** Opens a round, which makes what an earlier one left behind history. */
  #open(call: StoreArgs): void {
    this.responses.remove(call.id);
    this.letters.remove(call.id);
    this.calls.add(call);
  }

  find(id: string, caller: string, now: number): FindResult | undefined {
    const open = this.calls.byId(id);
    if (open !== undefined) {
      if (open.caller !== caller) return undefined;
      const call = factsOf(decodeAction(this.calls.action(open.seq)));
      const { fingerprint } = open;
      return { kind: 'open', found: { kind: 'open', call, fingerprint, activity: activityOf(open) } };
    }
    const response = this.responses.byId(id, now);
    if (response === undefined || response.caller !== caller) return undefined;
    return { kind: 'finished', event: this.responses.event(response.seq), delivered: response.delivered === 1 };
  }

  /** The call that a content stands for: the one that is claimed, where it stands for none that is still of use. */
  claim({ caller, key, id, instead }: Commands['claim']['args'], now: number): string {
    const claimed = this.contents.byKey(caller, key);
    if (claimed !== undefined && claimed.id !== instead && this.#stands(claimed, now)) return claimed.id;
    this.contents.put(caller, key, { id, claimedAt: now });
    return id;
  }

  /** A call of which nothing is left may have ended long ago; its id must not be used a second time. */
  #stands({ id, claimedAt }: ContentRow, now: number): boolean {
    if (now - claimedAt < this.#retention.keyed) return true;
    return this.calls.byId(id) !== undefined || this.responses.byId(id, now) !== undefined;
  }

  withdraw(args: Commands['withdraw']['args'], now: number): Withdrawn {
    const { id, caller, outcome } = args;
    const open = this.calls.byId(id);
    if (open === undefined) {
      const response = this.responses.byId(id, now);
      return response === undefined || (caller !== undefined && response.caller !== caller) ? 'unknown' : 'finished';
    }
    if (caller !== undefined && open.caller !== caller) return 'unknown';
    const action = decodeAction(this.calls.action(open.seq));
    const progress = unpackProgress({ progress: this.calls.progress(open.seq) });
    const state = {
      running: open.running === 1,
      marked: open.started !== null,
      unaccounted: open.unaccounted,
      attempts: action.earlier.length + progress.attempts.length,
    };
    if (!mayWithdraw(state, outcome)) return 'started';
    this.#settle(open, action, conclude(action, progress, outcome, now), now);
    return 'withdrawn';
  }

  finish(args: Commands['finish']['args'], now: number): 'stored' | 'refused' {
    const open = this.calls.byId(args.id);
    const stored = this.responses.byId(args.id, now);
    // The key was freed and names another call now, which this response does not answer.
    if (open?.round === args.round && open.seq !== args.seq) return 'refused';
    if (!becomesResponse(args, stored, open?.round)) {
      // The one who brings a response that comes too late is done with the call all the same.
      if (open?.round === args.round && stored !== undefined) this.calls.remove(open);
      return 'refused';
    }
    if (isDeadLetter(args.outcome)) {
      // Without its action event a letter could never be carried out again.
      if (open === undefined) return 'refused';
      this.#writeLetter(decodeAction(this.calls.action(open.seq)), decodeResponse(args.event), now);
    } else {
      this.letters.remove(args.id);
    }
    this.responses.put(args, this.#expiry(args.keyed, isDeadLetter(args.outcome), now));
    if (open !== undefined) this.calls.remove(open);
    if (args.callback !== undefined) this.store(args.callback, now);
    if (args.feed !== undefined) this.publish(args.feed, now);
    return 'stored';
  }

  /** Stores an event unless one with its id is there. */
  publish(event: PublishArgs, now: number): Published {
    const known = this.broadcasts.fingerprintOf(event.id);
    if (known === undefined) {
      this.broadcasts.add(event, now + this.#retention.broadcasts);
      return { kind: 'stored' };
    }
    const isOurs = event.repeated === true && known === event.fingerprint;
    return isOurs ? { kind: 'stored' } : { kind: 'known', fingerprint: known };
  }

  /** Takes a delivery off the log, and leaves a letter where it was given up. */
  settle({ seq, owner, id, letter }: LeaseName & SettleArgs, now: number): void {
    const open = this.calls.bySeq(seq);
    if (letter === undefined) {
      this.letters.remove(id);
    } else {
      // Whoever has it now decides what becomes of it.
      if (open?.owner !== owner) return;
      this.letters.put(decodeDeadLetter(letter), now + this.#retention.deadLetters);
    }
    if (open !== undefined) this.calls.remove(open);
  }

  /** @param service or the queue of a subscription, which has not opened all that waits for it */
  backlog(service: string): { waiting: number; oldest?: number } {
    const open = this.calls.backlog(service);
    const slash = service.indexOf('/');
    if (slash < 0) return open;
    const unopened = this.subscriptions.waiting(service.slice(0, slash), service.slice(slash + 1));
    const oldest = Math.min(open.oldest ?? Infinity, unopened.oldest ?? Infinity);
    const waiting = open.waiting + unopened.count;
    return waiting === 0 ? { waiting } : { waiting, oldest };
  }

  replay(id: string, now: number): 'replayed' | 'unknown' {
    const letter = this.letters.byId(id, now);
    if (letter === undefined) return 'unknown';
    const next = nextRound(letter.action, letter.history, now);
    if (next.delivery === undefined) this.#open(packAction(next));
    else this.#openDelivery(packAction(next), queueOf(next.service, next.delivery.subscription));
    return 'replayed';
  }

  #openDelivery(delivery: StoreArgs, queue: string): void {
    this.letters.remove(delivery.id);
    if (!this.calls.isDelivering(delivery.id)) this.calls.add({ ...delivery, service: queue });
  }

  discard(id: string, now: number): 'discarded' | 'unknown' {
    if (this.letters.byId(id, now) === undefined) return 'unknown';
    this.letters.remove(id);
    this.responses.remove(id);
    return 'discarded';
  }

  /** Ends up to `limit` calls that nobody holds and whose deadline has passed; how many there were. */
  concludeOverdue(now: number, limit: number): number {
    const overdue = this.calls.overdue(now, limit);
    for (const call of overdue) {
      const action = decodeAction(this.calls.action(call.seq));
      const progress = unpackProgress({ progress: this.calls.progress(call.seq), started: call.started });
      this.#settle(call, action, concludeOverdue(action, progress, call.unaccounted, now), now);
    }
    return overdue.length;
  }

  /** Deletes up to `limit` each of what is past its retention; how much there was. */
  expire(now: number, limit: number): number {
    return (
      this.responses.expire(now, limit) +
      this.letters.expire(now, limit) +
      this.broadcasts.expire(now, limit) +
      this.contents.expire(now - this.#retention.keyed, limit) +
      this.attachments.expire(now - this.#retention.keyed, limit)
    );
  }

  start(lease: LeaseName, mark: string | null): 'started' | 'gone' {
    return this.calls.start(lease.seq, lease.owner, mark) ? 'started' : 'gone';
  }

  /** The response of a call, where it is one of `round` or a later one, and no later round is open. */
  answerOf(id: string, caller: string, round: number, now: number): ResponseRow | undefined {
    const response = this.responses.byId(id, now);
    if (response === undefined || response.caller !== caller || !settlesRound(response, round)) return undefined;
    return response;
  }

  #settle(call: CallRow, action: ActionEvent, response: ResponseEvent, now: number): void {
    const letter = isDeadLetter(response.outcome);
    if (letter) this.#writeLetter(action, response, now);
    this.responses.put(packResponse(response), this.#expiry(action.keyed, letter, now));
    const progress = this.calls.progress(call.seq);
    this.calls.remove(call);
    const callback = callbackOf(action, response);
    if (callback !== undefined) this.store(packAction(callback), now);
    if (progress === undefined || decodeProgress(progress).feed !== true) return;
    const feed = packCallFeed(action, response);
    if (feed !== undefined) this.publish(feed, now);
  }

  #writeLetter(action: ActionEvent, response: ResponseEvent, now: number): void {
    const { outcome, attempts, finishedAt, answer, trace } = response;
    if (!isDeadLetter(outcome)) return;
    const letter = {
      action,
      reason: outcome,
      diedAt: finishedAt,
      history: attempts,
      ...(answer !== undefined && { status: answer.status }),
      ...(trace !== undefined && { trace }),
    };
    this.letters.put(letter, now + this.#retention.deadLetters);
  }

  /** The response of a dead letter stays as long as the letter: its key must not start the call a second time before. */
  #expiry(keyed: boolean, letter: boolean, now: number): number {
    const kept = keyed ? this.#retention.keyed : this.#retention.responses;
    return now + (letter ? Math.max(kept, this.#retention.deadLetters) : kept);
  }
}

function activityOf(call: CallRow): 'waiting' | 'attempting' {
  return call.running === 1 ? 'attempting' : 'waiting';
}
