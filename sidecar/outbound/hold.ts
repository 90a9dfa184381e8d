import { BrokerUnavailable } from '../broker/port.ts';
import type { Link } from '../collections/linked-list.ts';
import type { RouteConfig } from '../config/config.ts';
import type { ResponseEvent } from '../model/call.ts';
import type { Preferences } from '../policy/prefer.ts';
import type { Alarm, Alarms } from './alarms.ts';
import { accepted, problem, published, replay, type Reply, type StoredState } from '../http/answer.ts';
import type { Exchange } from './exchange.ts';

/** When it makes sense to ask for an answer that took longer than its caller was kept, ms. */
const askAgainAfter = 2000;
/** When it makes sense to come back to a sidecar that stops: another may be in its place by then, ms. */
const restartTime = 2000;

/** How much longer than it wanted to wait a caller is kept while it is not known which call it waits for, ms. */
const findingTime = 5000;

/** What a hold waits for. */
export interface Held {
  /** Absent while it is being found out which call it is. */
  readonly id: string | undefined;
  readonly keyed: boolean;
  /** Present where it is a broadcast event: stored is all that it can become here. */
  readonly topic?: string;
  leave(hold: Hold): void;
  delivered(response: ResponseEvent): void;
}

/**
 * One caller's connection that is kept open for a call.
 *
 * ```
 * await:   waiting ──answer──> answered       waiting ──hold over──> 504 or 202
 * async:   waiting ──stored──> 202            waiting ──hold over──> 504 (the broker has not confirmed)
 * async with wait:  waiting ──answer──> answered   ──wait over──> as async
 * ```
 * A caller that goes away ends its hold, not its call.
 */
export class Hold {
  readonly exchange: Exchange;
  readonly route: RouteConfig;
  /** Bytes of the request in memory; {@link Holds} keeps count. */
  bytes = 0;
  /** Among all that are held; for {@link Holds}. */
  place: Link<Hold> | undefined;
  /** The answer itself is waited for, not only its call's acceptance. */
  wantsAnswer: boolean;
  readonly isAsync: boolean;
  /** Answers the exchange in another way where nothing could be stored. */
  fallback: (() => void) | undefined;
  readonly #alarms: Alarms;
  readonly #wait: number | undefined;
  #until = Number.POSITIVE_INFINITY;
  /** The time was over before it was known which call is waited for. */
  #overdue = false;
  #alarm: Alarm | undefined;
  #call: Held | undefined;
  #state: StoredState | undefined;

  constructor(exchange: Exchange, route: RouteConfig, preferences: Preferences, alarms: Alarms) {
    this.exchange = exchange;
    this.route = route;
    const isBroadcast = route.mode === 'broadcast';
    this.isAsync = route.mode === 'async' || isBroadcast || preferences.respondAsync;
    this.#wait = isBroadcast ? undefined : preferences.wait;
    this.wantsAnswer = !this.isAsync || this.#wait !== undefined;
    this.#alarms = alarms;
  }

  /** The call that is waited for, where it is known. */
  get callId(): string | undefined {
    return this.#call?.id;
  }

  /** When the hold is over, on the clock of `performance.now()`. */
  get until(): number {
    return this.#until;
  }

  /** The request is complete: from now on its caller waits for `call`. */
  begin(call: Held): void {
    this.#call = call;
    if (this.#alarm !== undefined) {
      // The time that it took to find the call counts; it is told at once where that took too long.
      if (this.#overdue) this.#ringIn(0);
      return;
    }
    const { hold } = this.route;
    this.#until = performance.now() + (this.isAsync ? hold : Math.min(hold, this.#wait ?? hold));
    this.#ringIn(this.wantsAnswer ? Math.min(hold, this.#wait ?? hold) : hold);
  }

  /** The call is stored. */
  stored(state: StoredState): void {
    this.#state = state;
    if (!this.wantsAnswer) this.#end(this.#accepted(state));
  }

  /** @param replayed a caller has had this answer before */
  answer(response: ResponseEvent, replayed: boolean): void {
    const call = this.#call;
    const state = response.outcome === 'answered' ? 'answered' : 'dead';
    // What a caller must not take for done is told at once, also to one that does not wait.
    const isRefusal = response.outcome === 'outcome-unknown' || response.outcome === 'cancelled';
    if (!this.wantsAnswer && !isRefusal) {
      this.#end(this.#accepted(state));
      return;
    }
    this.exchange.response = response;
    if (call?.keyed && !replayed) this.exchange.res.once('finish', () => call.delivered(response));
    this.#end(replay(response, replayed));
  }

  /** The key stands for another request. */
  keyReused(): void {
    const detail = 'The Idempotency-Key was used with another target, content type or body before.';
    this.#end(problem('key-reused', { detail, callId: this.#call?.id }));
  }

  /** Nothing was stored. */
  refuse(error: BrokerUnavailable): void {
    if (this.fallback !== undefined) {
      this.over();
      if (!this.exchange.over) this.fallback();
      return;
    }
    const detail = `The broker cannot store the call now, and nothing was accepted: ${error.message}.`;
    this.#end(problem('broker-unavailable', { detail, retryAfter: error.retryAfter }));
  }

  /** The sidecar stops; the call goes on without it. */
  shutDown(): void {
    const located = this.#call?.topic === undefined;
    const detail =
      this.#call?.id === undefined
        ? 'The sidecar is stopping; nothing was accepted.'
        : !located
          ? 'The sidecar is stopping, and the broker has not confirmed the event yet; if it does, it is delivered.'
          : this.#state === undefined
            ? 'The sidecar is stopping, and the broker has not confirmed the call yet; ask at Location.'
            : 'The sidecar is stopping; the call goes on, ask at Location.';
    this.#end(problem('shutting-down', { detail, callId: this.#call?.id, located, retryAfter: restartTime }));
  }

  /** The caller has gone away or has its answer: nothing is waited for any more. A second time does nothing. */
  over(): void {
    this.#alarm?.cancel();
    this.#call?.leave(this);
    this.#call = undefined;
  }

  #ringIn(delay: number): void {
    this.#alarm?.cancel();
    this.#alarm = this.#alarms.set(delay, () => this.#ring());
  }

  #ring(): void {
    const { id, topic } = this.#call!;
    if (id === undefined && this.#overdue) {
      this.refuse(new BrokerUnavailable('it has not told in time whether this call is known'));
      return;
    }
    if (id === undefined) {
      this.#overdue = true;
      this.#ringIn(findingTime);
      return;
    }
    const left = this.#until - performance.now();
    if (this.isAsync && this.#state === undefined && left > 0) {
      // The caller waited for the answer long enough; now only for the acceptance.
      this.wantsAnswer = false;
      this.#ringIn(left);
      return;
    }
    if (topic !== undefined) {
      const detail = 'The broker has not confirmed the event yet; if it does, it is delivered.';
      this.#end(problem('hold-expired', { detail, callId: id, retryAfter: askAgainAfter }));
      return;
    }
    const askFor = { callId: id, located: true, retryAfter: askAgainAfter };
    if (this.#state === undefined) {
      const detail = 'The broker has not confirmed the call yet; if it does, the call goes on. Ask at Location.';
      this.#end(problem('hold-expired', { detail, ...askFor }));
    } else if (this.isAsync || this.route.onHoldExpired === 202) {
      this.#end(accepted(id, this.#state, askAgainAfter));
    } else {
      const detail = 'No answer came within the hold; the call goes on. Ask at Location.';
      this.#end(problem('hold-expired', { detail, ...askFor }));
    }
  }

  #accepted(state: StoredState): Reply {
    const { id, topic } = this.#call!;
    return topic === undefined ? accepted(id!, state) : published(id!, topic);
  }

  #end(reply: Reply): void {
    this.over();
    this.exchange.send(reply);
  }
}
