import { callbackId } from '../model/call-id.ts';
import type { ActionEvent, RawHeaders, ResponseEvent } from '../model/call.ts';
import { replay } from './answer.ts';

/**
 * The call that tells a caller's own service how its call ended; undefined where it did not ask for that.
 *
 * It is an ordinary action event, from the callee to the caller's service, so that everything which makes calls durable holds
 * for it. Its body and headers are the answer that GET would give. Its id follows from what it tells, so that it is one call however
 * often it is stored.
 */
export function callbackOf(action: ActionEvent, response: ResponseEvent): ActionEvent | undefined {
  const { callback, caller, service, route } = action;
  // An operator who discards a dead letter ends nothing: the caller has heard of the letter.
  if (callback === undefined || response.outcome === 'discarded') return undefined;
  const { round } = response.call;
  const { status, headers, trailers, body, bodyRef } = replay(response, false);
  return {
    id: callbackId(caller, action.id, round, response.outcome),
    round: 1,
    caller: service,
    service: caller,
    route: route === '' ? 'callback' : `${route}.callback`,
    method: callback.method,
    target: callback.target,
    headers: ofAnswer(headers),
    trailers,
    body,
    ...(bodyRef !== undefined && { bodyRef }),
    hasBody: true,
    acceptedAt: response.finishedAt,
    deadline: response.finishedAt + (action.deadline - action.acceptedAt),
    idempotent: true,
    retry: { ...action.retry, untilSuccess: true },
    keyed: true,
    fingerprint: '',
    maxBody: action.maxBody,
    earlier: [],
    answerTo: { id: action.id, status },
    ...(action.trace !== undefined && { trace: action.trace }),
  };
}

/** Fields that would say something else in a request than they do in an answer, or that the attempt sets itself. */
const notForRequests: ReadonlySet<string> = new Set([
  'host',
  'expect',
  'idempotency-key',
  'traceparent',
  'tracestate',
  'holdline-call-id',
]);

function ofAnswer(raw: RawHeaders): string[] {
  const kept: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    if (!notForRequests.has(raw[at]!.toLowerCase())) kept.push(raw[at]!, raw[at + 1]!);
  }
  return kept;
}
