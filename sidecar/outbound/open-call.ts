import {
  BrokerUnavailable,
  type Attachment,
  type AwaitedResponse,
  type BodyStore,
  type CallerLog,
  type FoundCall,
  type Stored,
} from '../broker/port.ts';
import {
  factsOf,
  type ActionEvent,
  type BodyRef,
  type CallFacts,
  type ResponseEvent,
  type TraceContext,
} from '../model/call.ts';
import { decideKeyed, endsWithDelivery, isWantedAgain } from '../policy/idempotency.ts';
import { callAccepted, trouble } from '../telemetry/channels.ts';
import type { Alarm, Alarms } from './alarms.ts';
import type { StoredState } from '../http/answer.ts';
import type { BrokerPatience } from './broker-patience.ts';
import type { Held, Hold } from './hold.ts';

/** The callee's sidecar concludes a call at its deadline; only where none lives does this one do it, after this, ms. */
const deadlineGrace = 500;
/** How often that is tried again, ms. */
const concludeInterval = 1000;
/** How often a keyed call whose state keeps changing under us is looked at again. */
const looks = 20;

export interface OpenCallContext {
  readonly log: CallerLog;
  readonly bodies: BodyStore;
  readonly alarms: Alarms;
  readonly patience: BrokerPatience;
  /** Nobody here waits for the call any more. */
  closed(call: OpenCall): void;
}

/** The call of a request whose content is its key. */
export interface ByContent {
  /** The key stands for this call since just now, so there is nothing to be found of it. */
  readonly isNew: boolean;
  /** The call had its answer delivered before; what `hold` asks for is another one. */
  readonly wantedAgain: (hold: Hold, action: ActionEvent) => void;
}

/**
 * A call that callers of this sidecar wait for: one caller for a call without a key, any number for one with a key.
 *
 * ```
 * deciding ──stored or found open──> open ──response event──> closed
 * deciding ──found finished──> closed          open ──last caller gone──> closed
 * deciding ──nothing stored──> closed
 * ```
 * Closing it here ends nothing on the broker.
 */
export class OpenCall implements Held {
  readonly id: string;
  readonly keyed: boolean;
  readonly #context: OpenCallContext;
  readonly #action: ActionEvent;
  readonly #byContent: ByContent | undefined;
  /** Never changed in place: those that are told may leave meanwhile. */
  #holds: readonly Hold[] = [];
  /** The body that was stored for this request has gone into a call: this one, or one that takes its place. */
  #usesBody = false;
  #phase: 'deciding' | 'open' | 'closed' = 'deciding';
  #state: StoredState = 'waiting';
  #round = 1;
  #deadline: number;
  #awaited: AwaitedResponse | undefined;
  /** A response that came before it was decided which round is waited for. */
  #early: ResponseEvent | undefined;
  #alarm: Alarm | undefined;
  /** When the write of the action was begun last. */
  #storingSince = 0;
  #carried = false;
  readonly #noted = new Set<Attachment['how']>();
  /** The context of an earlier round, for telemetry. */
  #follows: TraceContext | undefined;

  constructor(context: OpenCallContext, action: ActionEvent, byContent?: ByContent) {
    this.#context = context;
    this.#action = action;
    this.#byContent = byContent;
    this.id = action.id;
    this.keyed = action.keyed;
    this.#deadline = action.deadline;
  }

  /** Whether `hold` may wait for this call, too: under one key only the same request may. */
  accepts(fingerprint: string): boolean {
    return fingerprint === this.#action.fingerprint;
  }

  join(hold: Hold): void {
    if (this.#carried) this.#note('waited');
    this.#holds = [...this.#holds, hold];
    hold.begin(this);
    if (hold.wantsAnswer && this.#awaited === undefined) this.#awaitAnswer();
    if (this.#phase !== 'open') return;
    this.#watchDeadline();
    hold.stored(this.#state);
  }

  leave(hold: Hold): void {
    this.#holds = this.#holds.filter((other) => other !== hold);
    if (this.#holds.length === 0 && this.#phase === 'open') this.#close();
  }

  delivered({ call, outcome }: ResponseEvent): void {
    if (endsWithDelivery(outcome)) this.#context.log.markDelivered(call.id, call.round);
  }

  /** Stores the action, or finds out what became of it before. Call it once, after the first `join`. */
  carry(): void {
    this.#carried = true;
    const carried = this.keyed ? this.#carryKeyed() : this.#carryNew();
    carried.catch((error: unknown) => this.#failed(error));
    const { bodyRef } = this.#action;
    if (bodyRef !== undefined) this.#dropUnused(bodyRef, carried).catch((error: unknown) => this.#failed(error));
  }

  /** The body that was stored for this request belongs to nothing where another request's call is waited for. */
  async #dropUnused(body: BodyRef, carried: Promise<void>): Promise<void> {
    try {
      await carried;
    } catch (error) {
      // Otherwise it is not known whether the call is stored.
      if (!(error instanceof BrokerUnavailable)) return;
    }
    if (!this.#usesBody) await this.#context.bodies.forget(body);
  }

  async #carryNew(): Promise<void> {
    const action = this.#action;
    const stored = await this.#patiently(() => this.#store(action));
    if (stored.kind === 'finished') this.#finish(stored.response, true);
    else this.#open(factsOf(action), 'waiting', true);
  }

  async #carryKeyed(): Promise<void> {
    const { log } = this.#context;
    const action = this.#action;
    // Before looking, so that an answer that comes in between is not missed.
    if (this.#awaited === undefined) this.#awaitAnswer();
    for (let look = 0; look < looks; look++) {
      const isNew = look === 0 && this.#byContent?.isNew === true;
      const found: FoundCall | undefined = isNew
        ? undefined
        : await this.#patiently(() => log.find(this.id, action.service));
      // Only at the first look: what was seen open while its caller waited is what that caller waits for.
      if (look === 0 && this.#byContent !== undefined && isWantedAgain(found)) {
        const { wantedAgain } = this.#byContent;
        this.#usesBody = true;
        this.#refuse((hold) => wantedAgain(hold, action));
        return;
      }
      const step = decideKeyed(found, action.fingerprint);
      switch (step.kind) {
        case 'key-reused':
          this.#refuse((hold) => hold.keyReused());
          return;
        case 'serve':
          this.#note('served');
          this.#finish(step.response, step.replayed);
          return;
        case 'attach':
          this.#note('waited');
          this.#round = step.call.round;
          this.#open(step.call, found?.kind === 'open' ? found.activity : 'waiting', false);
          return;
        case 'store': {
          const { round, earlier } = step;
          if (round > 1) {
            // What is waited for is another answer than the one that is there.
            this.#round = round;
            if (found?.kind === 'finished') this.#follows = found.response.trace;
            this.#awaitAnswer();
          }
          const next = { ...action, round, earlier };
          const stored = await this.#patiently(() => this.#store(next));
          if (stored.kind === 'accepted') {
            this.#open(factsOf(next), 'waiting', true);
            return;
          }
        }
      }
    }
    throw new BrokerUnavailable('the call with this key keeps changing');
  }

  #note(how: Attachment['how']): void {
    if (this.#noted.has(how)) return;
    this.#noted.add(how);
    this.#context.log.noteAttached(this.id, how);
  }

  #store(action: ActionEvent): Promise<Stored> {
    this.#storingSince = performance.now();
    return this.#context.log.store(action);
  }

  #open(call: CallFacts, state: StoredState, isNew: boolean): void {
    this.#usesBody = isNew;
    if (isNew && callAccepted.hasSubscribers) this.#tellAccepted(call);
    if (this.#phase === 'closed') return;
    this.#phase = 'open';
    this.#state = state;
    this.#deadline = call.deadline;
    const early = this.#early;
    this.#early = undefined;
    if (early !== undefined && early.call.round >= this.#round) {
      this.#finish(early, false);
      return;
    }
    for (const hold of this.#holds) hold.stored(state);
    if (this.#holds.length === 0) this.#close();
    else this.#watchDeadline();
  }

  #awaitAnswer(): void {
    this.#awaited?.release();
    this.#early = undefined;
    const awaited = this.#context.log.await(this.id);
    this.#awaited = awaited;
    awaited.response.then(
      (response) => {
        if (this.#awaited === awaited) this.#heard(response);
      },
      (error: unknown) => this.#failed(error),
    );
  }

  #heard(response: ResponseEvent): void {
    // Whether the answer of a keyed call is the one that is waited for depends on the round.
    if (this.keyed && this.#phase === 'deciding') this.#early = response;
    else if (response.call.round < this.#round) this.#awaitAnswer();
    else this.#finish(response, false);
  }

  #finish(response: ResponseEvent, replayed: boolean): void {
    if (this.#phase === 'closed') return;
    // Closed before anybody is told, so that `leave` finds nothing left to do.
    this.#close();
    for (const hold of this.#holds) {
      try {
        hold.answer(response, replayed);
      } catch (error) {
        // Responses can be published by hand, also such that nothing can be made of them.
        this.#tellTrouble(error);
        hold.exchange.res.destroy();
      }
    }
  }

  #refuse(tell: (hold: Hold) => void): void {
    if (this.#phase === 'closed') return;
    this.#close();
    for (const hold of this.#holds) tell(hold);
  }

  #failed(error: unknown): void {
    if (error instanceof BrokerUnavailable) {
      this.#refuse((hold) => hold.refuse(error));
      return;
    }
    this.#tellTrouble(error);
    // Whether the call is stored is not known, so no answer would be true: the connection breaks, as in any crash.
    this.#refuse((hold) => hold.exchange.res.destroy());
  }

  #tellTrouble(error: unknown): void {
    const { trace } = this.#action;
    trouble.publish({
      where: 'outbound',
      error: toError(error),
      callId: this.id,
      ...(trace !== undefined && { trace }),
    });
  }

  #close(): void {
    this.#phase = 'closed';
    this.#awaited?.release();
    this.#awaited = undefined;
    this.#alarm?.cancel();
    this.#context.closed(this);
  }

  #patiently<T>(ask: () => Promise<T>): Promise<T> {
    return this.#context.patience.insist(ask, () => this.#holds.length > 0);
  }

  /** A caller that is kept beyond the deadline gets its answer then, even where no sidecar of the callee lives. */
  #watchDeadline(): void {
    if (this.#alarm !== undefined) return;
    const left = Math.max(0, this.#deadline + deadlineGrace - Date.now());
    const latest = Math.max(...this.#holds.map(({ until }) => until));
    if (performance.now() + left < latest) this.#concludeIn(left);
  }

  #concludeIn(delay: number): void {
    this.#alarm = this.#context.alarms.set(delay, () => {
      this.#context.log.withdraw(this.id, 'deadline-exceeded').then(
        // The response event arrives as any other does; until then an attempt may still be running.
        () => this.#concludeAgain(),
        (error: unknown) => {
          if (error instanceof BrokerUnavailable) this.#concludeAgain();
          else this.#failed(error);
        },
      );
    });
  }

  #concludeAgain(): void {
    if (this.#phase === 'open') this.#concludeIn(concludeInterval);
  }

  #tellAccepted(call: CallFacts): void {
    const [first] = this.#holds;
    const { trace } = this.#action;
    const mode = first?.isAsync ? 'async' : 'await';
    const storingMs = performance.now() - this.#storingSince;
    const follows = this.#follows;
    callAccepted.publish({
      call,
      mode,
      storingMs,
      ...(follows !== undefined && { follows }),
      ...(trace !== undefined && { trace }),
    });
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
