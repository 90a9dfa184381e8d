import { BrokerUnavailable, type Published, type PublisherLog } from '../broker/port.ts';
import type { RouteConfig } from '../config/config.ts';
import { endToEndRequest } from '../http/headers.ts';
import { callerContext, newTrace } from '../http/trace-context.ts';
import { eventHeaders, type BroadcastEvent } from '../model/broadcast.ts';
import { fingerprint, keyedCallId } from '../model/call-id.ts';
import { eventPublished, trouble } from '../telemetry/channels.ts';
import type { BrokerPatience } from './broker-patience.ts';
import type { Exchange } from './exchange.ts';
import type { Held, Hold } from './hold.ts';

/**
 * The event that a request on a `broadcast` route publishes. A request with a key has the id that follows from the key, so that
 * repeating it publishes nothing twice.
 */
export function eventOf(
  { facts, address, method, req, hasBody }: Exchange,
  route: RouteConfig,
  { publisher, body, newId }: { readonly publisher: string; readonly body: Uint8Array; readonly newId: () => string },
): BroadcastEvent {
  const { topic } = route;
  if (topic === undefined) throw new TypeError(`the route ${route.name} has no topic`);
  const key = route.idempotencyKey === 'none' ? undefined : facts.idempotencyKeys[0];
  const scope = { caller: publisher, service: topic, method, path: address.path };
  return {
    id: key === undefined || key === '' ? newId() : keyedCallId({ ...scope, key }),
    topic,
    publisher,
    route: route.name,
    headers: eventHeaders(endToEndRequest(req.rawHeaders, facts)),
    body,
    hasBody,
    at: Date.now(),
    fingerprint: fingerprint(address.target, facts.contentType, body),
    trace: callerContext(facts.traceparent, facts.tracestate) ?? newTrace(),
  };
}

/** An event that is being stored, while its publisher waits for that. Closing it here takes nothing back. */
export class Publication implements Held {
  readonly id: string;
  readonly topic: string;
  readonly keyed = false;
  readonly #log: PublisherLog;
  readonly #patience: BrokerPatience;
  readonly #event: BroadcastEvent;
  #hold: Hold | undefined;

  constructor(log: PublisherLog, patience: BrokerPatience, event: BroadcastEvent) {
    this.id = event.id;
    this.topic = event.topic;
    this.#log = log;
    this.#patience = patience;
    this.#event = event;
  }

  /** Answers `hold` when the event is stored, or cannot be. */
  publish(hold: Hold): void {
    this.#hold = hold;
    hold.begin(this);
    this.#store().then(
      (published) => this.#published(published),
      (error: unknown) => this.#failed(error),
    );
  }

  leave(): void {
    this.#hold = undefined;
  }

  delivered(): void {
    // There is no answer that could be.
  }

  /** Repeats what the broker refused, where it is away only for a moment and the publisher still waits. */
  async #store(): Promise<Published> {
    for (;;) {
      try {
        return await this.#log.publish(this.#event);
      } catch (error) {
        if (!(error instanceof BrokerUnavailable)) throw error;
        if (!(await this.#patience.returns()) || this.#hold === undefined) throw error;
      }
    }
  }

  #published(published: Published): void {
    const { id, topic, publisher, route, trace, fingerprint: own } = this.#event;
    if (published.kind === 'stored' && eventPublished.hasSubscribers) {
      eventPublished.publish({ id, topic, publisher, route, ...(trace !== undefined && { trace }) });
    }
    if (published.kind === 'known' && published.fingerprint !== own) this.#hold?.keyReused();
    else this.#hold?.stored('waiting');
  }

  #failed(error: unknown): void {
    if (error instanceof BrokerUnavailable) {
      this.#hold?.refuse(error);
      return;
    }
    trouble.publish({ where: 'outbound', error: toError(error), callId: this.id });
    // Whether the event is stored is not known, so no answer would be true: the connection breaks, as in any crash.
    this.#hold?.exchange.res.destroy();
  }
}

function toError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
