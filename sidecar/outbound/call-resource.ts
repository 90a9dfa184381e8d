import { BrokerUnavailable, type CallerLog, type FoundCall } from '../broker/port.ts';
import { isCallId, readCallId } from '../model/call-id.ts';
import type { ResponseEvent } from '../model/call.ts';
import { endsWithDelivery } from '../policy/idempotency.ts';
import { parsePrefer } from '../policy/prefer.ts';
import { trouble } from '../telemetry/channels.ts';
import type { Alarms } from './alarms.ts';
import { callStatus, cancelled, problem, replay, type Reply } from '../http/answer.ts';
import type { Exchange } from './exchange.ts';
import type { Holds } from './holds.ts';

/** When it makes sense to ask again for a call that is open, ms. */
const askAgainAfter = 2000;
const prefix = '/.holdline/calls/';

/** What is below `/.holdline/`, on every outbound listener and for any host: a service's own calls. */
export class CallResource {
  readonly #log: CallerLog;
  readonly #alarms: Alarms;
  readonly #holds: Holds;
  /** Ends the wait of each caller that waits for an answer here. */
  readonly #waiting = new Set<() => void>();

  constructor(log: CallerLog, alarms: Alarms, holds: Holds) {
    this.#log = log;
    this.#alarms = alarms;
    this.#holds = holds;
  }

  /** Callers that wait here. */
  get waiting(): number {
    return this.#waiting.size;
  }

  /** Whoever waits is told how the call stands now. */
  shutDown(): void {
    for (const end of this.#waiting) end();
  }

  /** Answers the exchange, whose path is reserved. */
  handle(exchange: Exchange): void {
    const answered = this.#answer(exchange).catch((error: unknown) => {
      if (error instanceof BrokerUnavailable) return unavailable(error);
      trouble.publish({ where: 'outbound', error: error instanceof Error ? error : new Error(String(error)) });
      exchange.res.destroy();
      return undefined;
    });
    answered.then(
      (reply) => reply && exchange.send(reply),
      (error: unknown) => trouble.publish({ where: 'outbound', error: error as Error }),
    );
  }

  async #answer(exchange: Exchange): Promise<Reply> {
    const { path } = exchange.address;
    if (!path.startsWith(prefix)) {
      const detail = `Nothing is there; a call is at ${prefix}{id}.`;
      return problem('call-unknown', { detail });
    }
    const id = path.slice(prefix.length);
    switch (exchange.method) {
      case 'GET':
      case 'HEAD':
        return this.#read(exchange, id);
      case 'DELETE':
        return this.#cancel(exchange, id);
      default: {
        const allow = 'GET, HEAD, DELETE';
        return problem('bad-request', { detail: `A call can be read and cancelled: ${allow}.`, status: 405, allow });
      }
    }
  }

  async #read(exchange: Exchange, id: string): Promise<Reply> {
    if (!isCallId(id)) return unknown(id);
    let found = await this.#log.find(id);
    if (found?.kind === 'open' && found.call.deadline < Date.now()) {
      await this.#log.withdraw(id, 'deadline-exceeded');
      found = await this.#log.find(id);
    }
    const { wait = 0 } = parsePrefer(exchange.facts.prefer);
    const hasRoom = this.#holds.count + this.#waiting.size < this.#holds.limits.held;
    if (found?.kind === 'open' && wait > 0 && hasRoom) {
      const response = await this.#waitFor(exchange, found, wait);
      if (response !== undefined) return this.#finished(exchange, response);
    }
    if (found === undefined) return unknown(id);
    if (found.kind === 'finished') return this.#finished(exchange, found.response);
    return callStatus(found.call, found.activity, askAgainAfter);
  }

  /** @returns undefined when the time is over, or nobody waits any more */
  #waitFor(
    exchange: Exchange,
    { call }: Extract<FoundCall, { kind: 'open' }>,
    wait: number,
  ): Promise<ResponseEvent | undefined> {
    return new Promise((resolve, reject) => {
      const awaited = this.#log.await(call.id);
      const end = (response?: ResponseEvent) => {
        this.#waiting.delete(onClose);
        awaited.release();
        alarm.cancel();
        exchange.res.off('close', onClose);
        resolve(response);
      };
      const onClose = () => end();
      const alarm = this.#alarms.set(wait, end);
      exchange.res.on('close', onClose);
      this.#waiting.add(onClose);
      awaited.response.then(end, reject);
      // It may have been answered between the look that found it open and now.
      this.#log.find(call.id).then((found) => found?.kind === 'finished' && end(found.response), reject);
    });
  }

  #finished(exchange: Exchange, response: ResponseEvent): Reply {
    exchange.response = response;
    if (exchange.method === 'GET') this.#markWhenDelivered(exchange, response);
    return replay(response, true);
  }

  #markWhenDelivered(exchange: Exchange, { call, outcome }: ResponseEvent): void {
    const { id, keyed, round } = call;
    if (keyed && endsWithDelivery(outcome)) exchange.res.once('finish', () => this.#log.markDelivered(id, round));
  }

  async #cancel(exchange: Exchange, id: string): Promise<Reply> {
    if (!isCallId(id)) return unknown(id);
    switch (await this.#log.withdraw(id, 'cancelled')) {
      case 'withdrawn':
        if (readCallId(id).keyed) await this.#knowsOfCancellation(exchange, id);
        return cancelled(id);
      case 'started':
        return problem('call-started', { detail: 'The call has been sent to the callee; it goes on.', callId: id });
      case 'finished':
        return problem('call-started', { detail: 'The call is finished.', callId: id });
      case 'unknown':
        return unknown(id);
    }
  }

  /** Who cancels a call need not be told of it again, so the next request with its content is another call. */
  async #knowsOfCancellation(exchange: Exchange, id: string): Promise<void> {
    try {
      const found = await this.#log.find(id);
      if (found?.kind === 'finished') this.#markWhenDelivered(exchange, found.response);
    } catch (error) {
      // The call is cancelled all the same; only the memory that its caller knows is lost.
      if (!(error instanceof BrokerUnavailable)) throw error;
    }
  }
}

function unknown(id: string): Reply {
  // What is no id is not repeated: it may be anything.
  const which = isCallId(id) ? ` ${id}` : '';
  return problem('call-unknown', {
    detail: `No call${which} of this service is known, or its answer is no longer kept.`,
  });
}

function unavailable(error: BrokerUnavailable): Reply {
  const detail = `The broker cannot tell now: ${error.message}.`;
  return problem('broker-unavailable', { detail, retryAfter: error.retryAfter });
}
