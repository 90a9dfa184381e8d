import type { CallListing, CallStory, DeadLetter } from '../broker/port.ts';
import type { SubscriptionListing } from '../broker/subscriptions.ts';
import type { Topology } from '../broker/topology.ts';
import type { AttemptRecord } from '../model/call.ts';

/** The JSON that `--json` prints (contract section 2) and `/api/` serves. Every key is always there, null where there is nothing to say. */

/** One entry of `calls list`. */
export function callJson({ call, state, status, attempts, finishedAt }: CallListing) {
  const { id, caller, service, route, method, target, acceptedAt } = call;
  return {
    id,
    caller,
    service,
    route,
    method,
    path: pathOf(target),
    state,
    status: status ?? null,
    attempts,
    acceptedAt: rfc3339(acceptedAt),
    finishedAt: rfc3339(finishedAt),
  };
}

/**
 * What `calls show` prints: the entry of the list, and the rest of the story.
 * @param traceLink where traces are looked at, with `{traceId}` in it
 */
export function storyJson(story: CallStory, traceLink?: string) {
  const traceId = traceIdOf(story);
  const { call, outcome, history, waitingFor, notBefore, delivered, attached = [] } = story;
  return {
    ...callJson(story),
    target: call.target,
    round: call.round,
    deadline: rfc3339(call.deadline),
    idempotent: call.idempotent,
    keyed: call.keyed,
    outcome: outcome ?? null,
    waitingFor: waitingFor ?? null,
    notBefore: rfc3339(notBefore),
    delivered: delivered ?? null,
    attached: attached.map(({ how, at, instance }) => ({ how, at: rfc3339(at), instance })),
    traceId: traceId ?? null,
    traceUrl: traceUrl(traceId, traceLink) ?? null,
    history: history.map(attemptJson),
  };
}

/** The id of the trace that a call belongs to. */
export function traceIdOf({ trace }: CallStory): string | undefined {
  return trace?.traceparent.split('-')[1];
}

/** Where that trace is looked at. @param link with `{traceId}` in the place of the id */
export function traceUrl(traceId: string | undefined, link: string | undefined): string | undefined {
  return traceId === undefined ? undefined : link?.replaceAll('{traceId}', encodeURIComponent(traceId));
}

/** One entry of `dead-letters list`, and what `dead-letters show` prints. */
export function deadLetterJson({ call, reason, status, diedAt, history }: DeadLetter) {
  const { id, caller, service, route, method, target, round, acceptedAt, delivery } = call;
  return {
    id,
    reason,
    caller,
    service,
    route,
    method,
    path: pathOf(target),
    target,
    // The letter of a subscription tells which event it did not get.
    subscription: delivery?.subscription ?? null,
    event: delivery?.event ?? null,
    topic: delivery?.topic ?? null,
    status: status ?? null,
    round,
    acceptedAt: rfc3339(acceptedAt),
    diedAt: rfc3339(diedAt),
    history: history.map(attemptJson),
  };
}

/** What `topology --format json` prints. */
export function topologyJson({ windowMs, services, edges }: Topology) {
  return {
    windowSeconds: windowMs / 1000,
    services,
    edges: edges.map(({ from, to, routes, finished, failed, perSecond, latency, waiting, oldest, deadLetters }) => ({
      from,
      to,
      routes,
      perSecond,
      finished,
      errors: failed,
      latencyMs: latency ?? null,
      waiting,
      oldestWaitingSince: rfc3339(oldest),
      deadLetters,
    })),
  };
}

/** One entry of `subscriptions list`. */
export function subscriptionJson(listing: SubscriptionListing) {
  const { service, subscription, topic, state, waiting, oldest, deadLetters } = listing;
  return { service, name: subscription, topic, state, waiting, oldestWaitingSince: rfc3339(oldest), deadLetters };
}

function attemptJson({ attempt, at, ms, evidence, status, detail, instance }: AttemptRecord) {
  return {
    attempt,
    at: rfc3339(at),
    ms: ms === undefined ? null : Math.round(ms),
    evidence,
    status: status ?? null,
    detail: detail ?? null,
    instance,
  };
}

function rfc3339(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}

/** A request target without its query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}
