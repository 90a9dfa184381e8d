import { LinkedList, type Link } from '../collections/linked-list.ts';
import type { InboundConfig } from '../config/config.ts';
import { BodyLost, type Broker, type Lease } from '../broker/port.ts';
import { primed } from '../http/body.ts';
import { conclude, factsOf, type AttemptRecord, type BodyRef, type Progress } from '../model/call.ts';
import {
  afterAttempt,
  beforeAttempt,
  cannotBeSent,
  isSuccess,
  type Conclusion,
  type Observation,
  type Postponement,
} from '../policy/evidence.ts';
import {
  attemptEnded,
  attemptStarting,
  callFinished,
  deliveryEnded,
  deliveryStarted,
  trouble,
} from '../telemetry/channels.ts';
import type { CircuitBreaker } from './breaker.ts';
import { isAlive, type Connection, type Connections } from './connections.ts';
import { Exchange } from './exchange.ts';
import { describe } from './failure.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import type { Target } from './target.ts';
import { tellDelivery, traced, traceOf } from './telling.ts';
import { Turnstile } from './turnstile.ts';

/** "Gone" (RFC 9110 §15.5.11). */
const GONE = 410;
/** After an error of Holdline's own a call rests this long, ms, so that it does not come back at once and again. */
const REST_AFTER_ERROR = 5_000;
/** How often it is looked whether the lease of an attempt under way was lost, ms. */
const LOOK_AFTER = 1_000;

/** What attempts follow; replaced as a whole when the configuration changes. */
export interface Course {
  readonly config: InboundConfig;
  readonly target: Target;
  readonly connections: Connections;
  /** Sign each attempt, see {@link signatureFields}. */
  readonly secrets?: readonly string[];
}

/** A lease at hand. */
interface Held {
  readonly lease: Lease;
  /** What is known of the round, with what this delivery added. */
  progress: Progress;
  stage: 'waiting' | 'starting' | 'sent' | 'ending';
  exchange?: Exchange;
  /** Among all that are at hand. */
  place?: Link<Held>;
  /** The request's body where it is stored apart, its first part at hand. */
  body?: AsyncGenerator<Uint8Array, void, undefined>;
}

export interface ReplayerOptions {
  readonly instance: string;
  readonly course: Course;
  readonly gate: Gatekeeper;
  readonly broker: Pick<Broker, 'bodies' | 'maxInlineBody'>;
  /** Slots became free. */
  more(): void;
  /** Present where these are the deliveries of a subscription: its subscriber has answered 410 and wants no more of them. */
  gone?(): Promise<void>;
  /** Present where the service is an endpoint of somebody else. */
  readonly breaker?: CircuitBreaker;
  /** The service has taken the answer of the call `id`, which it had made itself. */
  told(id: string): void;
}

/**
 * Carries out the calls that are delivered to an instance: asks the policy, does as it says, nothing else.
 *
 * The order of one attempt is what makes its evidence right: first an established connection, then the recorded start,
 * then the request. So nothing that fails before the request costs an attempt, a service that is down costs no write,
 * and a recorded start is followed by a request at once.
 */
export class Replayer {
  readonly #options: ReplayerOptions;
  readonly #gate: Gatekeeper;
  readonly #held = new LinkedList<Held>();
  readonly #turnstile: Turnstile<Held>;
  #course: Course;
  #active = 0;
  #stopping = false;
  #whenIdle: (() => void) | undefined;
  #watch: NodeJS.Timeout | undefined;

  constructor(options: ReplayerOptions) {
    this.#options = options;
    this.#gate = options.gate;
    this.#course = options.course;
    this.#turnstile = new Turnstile(options.course.config.rate, (held) => this.#begin(held));
  }

  /** Attempts under way. */
  get running(): number {
    return this.#active - this.#turnstile.waiting;
  }

  /** Leases that may be taken now. A call whose answer is being stored has left its slot, but not without bound. */
  free(): number {
    if (this.#stopping || !this.#gate.state.open) return 0;
    const { concurrency } = this.#course.config;
    const free = Math.min(concurrency - this.#active, 2 * concurrency - this.#held.size, this.#turnstile.room);
    const { breaker } = this.#options;
    return Math.max(0, breaker === undefined ? free : Math.min(free, breaker.room - this.#active));
  }

  /** For the next attempts; those under way go on as they began. */
  follow(course: Course): void {
    this.#course = course;
    this.#turnstile.setRate(course.config.rate);
    this.#options.more();
  }

  deliver(lease: Lease): void {
    const held: Held = { lease, progress: lease.progress, stage: 'waiting' };
    held.place = this.#held.add(held);
    this.#active++;
    if (deliveryStarted.hasSubscribers) tellDelivery(held);
    this.#watch ??= setInterval(() => this.#breakOffLost(), LOOK_AFTER);
    const opening = beforeAttempt(lease.action, lease.progress, lease.unaccounted, Date.now());
    held.progress = opening.progress;
    if (opening.kind !== 'attempt') this.#own(held, this.#settle(held, opening));
    else if (this.#mayStart(held)) this.#turnstile.enter(held);
    else this.#own(held, this.#giveBack(held));
  }

  /** Gives back what waits for its turn: another instance may have a service that is up. */
  yieldWaiting(): void {
    for (const held of this.#turnstile.empty()) this.#own(held, this.#giveBack(held));
  }

  /** Starts nothing new from now on. */
  stop(): void {
    this.#stopping = true;
    this.yieldWaiting();
    if (this.#held.size === 0) this.#endWatch();
  }

  /** Breaks off what is still under way: for these calls no answer came. */
  abort(): void {
    for (const { exchange } of this.#held.values())
      exchange?.abort('the sidecar stopped before the answer was complete');
  }

  /**
   * Breaks off attempts of calls that another instance has now and repeats. A call that may not be repeated is sent by
   * nobody else, so that its answer is still worth having.
   */
  #breakOffLost(): void {
    for (const { lease, exchange } of this.#held.values()) {
      if (isElsewhere(lease)) exchange?.abort('the lease was lost: another sidecar has the call');
    }
  }

  #endWatch(): void {
    clearInterval(this.#watch);
    this.#watch = undefined;
  }

  /** Resolves when no lease is at hand. */
  idle(): Promise<void> {
    if (this.#held.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const earlier = this.#whenIdle;
      this.#whenIdle = () => {
        earlier?.();
        resolve();
      };
    });
  }

  #begin(held: Held): void {
    this.#own(held, this.#carryOut(held));
  }

  async #carryOut(held: Held): Promise<void> {
    const { lease } = held;
    const { action } = lease;
    const course = this.#course;
    const { connections } = course;
    const { opening } = this.#gate.state;
    held.stage = 'starting';
    if (action.bodyRef !== undefined && !(await this.#openBody(held, action.bodyRef))) return;
    const rested = connections.rested();
    let connection = rested ?? (await this.#connect(held, course, opening));
    if (connection === undefined) return this.#giveBack(held);
    if (!this.#mayStart(held)) {
      connections.restore(connection);
      return this.#giveBack(held);
    }
    const attempt = action.earlier.length + held.progress.attempts.length + 1;
    if ((await lease.start(attempt)) === 'gone') {
      connections.restore(connection);
      return;
    }
    if (rested !== undefined) await freshLook();
    if (!isAlive(connection)) connection = await this.#connect(held, course, opening);
    if (connection === undefined) return this.#giveBack(held);
    const last = this.#mayStart(held) ? beforeAttempt(action, held.progress, 0, Date.now()) : undefined;
    if (last?.kind !== 'attempt') {
      connections.restore(connection);
      return last === undefined ? this.#giveBack(held) : this.#settle(held, last);
    }
    return this.#send(held, course, connection, attempt, opening);
  }

  async #send(held: Held, course: Course, connection: Connection, attempt: number, opening: number): Promise<void> {
    const { action } = held.lease;
    const sent = attemptStarting.hasSubscribers ? traced(held, attempt, course.target) : action;
    const { timeout } = course.config;
    const at = Date.now();
    const clock = performance.now();
    const { bodies, maxInlineBody } = this.#options.broker;
    const limits = { timeout, maxBody: action.maxBody, maxInlineBody };
    let exchange: Exchange;
    try {
      exchange = new Exchange(sent, attempt, { ...course, connection, bodies, body: held.body }, limits);
    } catch (error) {
      connection.socket.destroy();
      throw error;
    }
    held.exchange = exchange;
    held.stage = 'sent';
    const observation = await exchange.observation;
    const made = { attempt, at, ms: Math.round(performance.now() - clock), instance: this.#options.instance };
    return this.#follow(held, made, observation, opening);
  }

  #follow(
    held: Held,
    made: { attempt: number; at: number; ms: number; instance: string },
    observation: Observation,
    opening: number,
  ): Promise<void> {
    if (observation.kind === 'no-answer' && isElsewhere(held.lease)) {
      // What becomes of the call is not for this instance to decide any more.
      this.#tellAttempt(held, { ...made, evidence: 'no-answer', detail: observation.detail });
      return this.#giveBack(held);
    }
    const decision = afterAttempt(held.lease.action, held.progress, made, observation, Date.now(), Math.random);
    if (decision.kind === 'wait') {
      const detail = observation.kind === 'not-sent' ? observation.detail : '';
      this.#notSent(held, made.attempt, opening, detail);
      return this.#giveBack(held);
    }
    this.#gate.reached();
    if (observation.kind === 'answer' && observation.answer.status === GONE && this.#options.gone !== undefined) {
      this.#tellAttempt(held, { ...made, evidence: 'answered', status: GONE });
      // Stored before the delivery is given back, or it would come again at once.
      return this.#options.gone().then(() => this.#giveBack(held));
    }
    this.#options.breaker?.ended(observation.kind === 'answer' && isSuccess(observation.answer.status));
    return this.#settle(held, decision);
  }

  /**
   * Begins to read a body that is stored apart. What cannot be read is found here, before anything is sent.
   * @returns false where the call has ended with that
   */
  async #openBody(held: Held, ref: BodyRef): Promise<boolean> {
    try {
      held.body = await primed(this.#options.broker.bodies.read(ref));
      return true;
    } catch (error) {
      if (!(error instanceof BodyLost)) throw error;
      this.#tell(held, error);
      const { action } = held.lease;
      const attempt = action.earlier.length + held.progress.attempts.length + 1;
      const made = { attempt, at: Date.now(), ms: 0, instance: this.#options.instance };
      await this.#settle(held, cannotBeSent(held.progress, made, error.message));
      return false;
    }
  }

  async #connect(held: Held, { connections }: Course, opening: number): Promise<Connection | undefined> {
    try {
      return await connections.establish();
    } catch (error) {
      const attempt = held.lease.action.earlier.length + held.progress.attempts.length + 1;
      this.#notSent(held, attempt, opening, describe(error));
      return undefined;
    }
  }

  #notSent(held: Held, attempt: number, opening: number, detail: string): void {
    if (this.#stopping) return;
    this.#tellAttempt(held, { attempt, evidence: 'not-sent', detail, instance: this.#options.instance });
    this.#gate.notSent(opening, detail);
  }

  #tellAttempt(held: Held, attempt: AttemptRecord): void {
    if (!attemptEnded.hasSubscribers) return;
    const { action } = held.lease;
    attemptEnded.publish({ call: factsOf(action), attempt, delivery: held, ...traceOf(action) });
  }

  async #settle(held: Held, decision: Conclusion | Postponement): Promise<void> {
    const { lease } = held;
    const { action } = lease;
    this.#leaveSlot(held);
    if (attemptEnded.hasSubscribers) {
      for (const attempt of decision.progress.attempts.slice(lease.progress.attempts.length)) {
        this.#tellAttempt(held, attempt);
      }
    }
    if (decision.kind === 'retry') return lease.postpone(decision.progress, decision.at);
    const { outcome, progress } = decision;
    const response = conclude(action, progress, outcome, Date.now());
    const since = performance.now();
    await lease.finish(response);
    if (outcome === 'answered' && action.answerTo !== undefined) this.#options.told(action.answerTo.id);
    if (callFinished.hasSubscribers) {
      const status = progress.answer?.status;
      const attempts = response.attempts.length;
      const storingMs = performance.now() - since;
      const told = { call: response.call, outcome, attempts, storingMs, delivery: held, ...traceOf(action) };
      callFinished.publish(status === undefined ? told : { ...told, status });
    }
  }

  #giveBack(held: Held): Promise<void> {
    this.#leaveSlot(held);
    const { lease, progress } = held;
    // Attempts that this delivery found out about must not be forgotten with it.
    return progress === lease.progress ? lease.release() : lease.postpone(progress, Date.now());
  }

  #mayStart({ lease }: Held): boolean {
    if (this.#options.breaker?.room === 0) return false;
    return this.#gate.state.open && !this.#stopping && !lease.lost.aborted;
  }

  #leaveSlot(held: Held): void {
    if (held.stage === 'ending') return;
    held.stage = 'ending';
    this.#active--;
    this.#options.more();
  }

  /** Nothing that goes wrong with one call may stop the others. */
  #own(held: Held, work: Promise<void>): void {
    work
      .catch((error: unknown) => this.#recover(held, error))
      .catch((error: unknown) => this.#tell(held, error))
      .finally(() => {
        this.#leaveSlot(held);
        held.place?.remove();
        // It may not have been sent, or not to its end.
        held.body?.return().catch((error: unknown) => this.#tell(held, error));
        if (deliveryEnded.hasSubscribers) deliveryEnded.publish({ delivery: held });
        // Only then was it the stored answers, and not the slots, that kept more from being taken.
        if (this.#held.size >= this.#course.config.concurrency) this.#options.more();
        if (this.#held.size > 0) return;
        if (this.#stopping) this.#endWatch();
        this.#whenIdle?.();
        this.#whenIdle = undefined;
      });
  }

  async #recover(held: Held, error: unknown): Promise<void> {
    this.#tell(held, error);
    // An ending method that failed is not called again: what it began is not known.
    if (held.stage === 'ending') return;
    this.#leaveSlot(held);
    await held.lease.postpone(held.progress, Date.now() + REST_AFTER_ERROR);
  }

  #tell(held: Held, error: unknown): void {
    const reason = error instanceof Error ? error : new Error(String(error));
    const { action } = held.lease;
    trouble.publish({ where: `inbound ${action.service}`, error: reason, callId: action.id, ...traceOf(action) });
  }
}

/**
 * Resolves after the event loop has asked the system once for what happened on its sockets. The service may have
 * closed a connection that rested; seeing that before the request is written is what tells "not sent" from "sent, no
 * answer". The first immediate comes after the events already fetched, the second after those that came since.
 */
function freshLook(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
}

function isElsewhere({ action, lost }: Lease): boolean {
  return action.idempotent && lost.aborted;
}
