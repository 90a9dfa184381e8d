import { isUtf8 } from 'node:buffer';
import type { BroadcastEvent } from '../model/broadcast.ts';
import { callFeedId } from '../model/call-id.ts';
import type { ActionEvent, ResponseEvent } from '../model/call.ts';
import { callTopic } from '../policy/topic.ts';
import { replay } from './answer.ts';
import { shownHeaders } from './secret-headers.ts';

/** Content type of CloudEvents 1.0 in structured mode. */
const structured = 'application/cloudevents+json; charset=utf-8';

/** The `data` of the event. */
interface FeedData {
  readonly call: {
    readonly id: string;
    readonly caller: string;
    readonly service: string;
    readonly route: string;
    readonly method: string;
    readonly target: string;
    readonly outcome: string;
  };
  readonly request: FeedMessage;
  readonly response: FeedMessage & { readonly status: number };
  /** How often the call was sent to its service. */
  readonly attempts: number;
  /** RFC 3339. */
  readonly acceptedAt: string;
  readonly answeredAt: string;
}

/** Has `body` where that is UTF-8, else `bodyBase64`; neither where the body was left out, with its `bodySize` in bytes. */
interface FeedMessage {
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly bodyBase64?: string;
  readonly bodySize?: number;
}

/**
 * The broadcast event by which a service's finished call is told to those who subscribed to them: request and answer as
 * one CloudEvents 1.0 JSON event, in structured mode. Its id follows from what it tells, so that it is one event however often it
 * is stored.
 *
 * Undefined for a call that never reached the service: it has seen nothing that it could tell.
 *
 * @param maxBody bytes that the event's body may have; bodies that do not fit are left out, the answer's first
 */
export function callFeedOf(action: ActionEvent, response: ResponseEvent, maxBody: number): BroadcastEvent | undefined {
  const { outcome, attempts, finishedAt } = response;
  if (outcome === 'cancelled' || outcome === 'discarded' || attempts.length === 0) return undefined;
  const { id: callId, service, route, trace } = action;
  const id = callFeedId(service, callId, response.call.round, outcome);
  return {
    id,
    topic: callTopic(service),
    publisher: service,
    route,
    headers: ['Content-Type', structured],
    body: bodyOf(id, action, response, maxBody),
    hasBody: true,
    at: finishedAt,
    fingerprint: '',
    call: { method: action.method, target: action.target, status: replay(response, false).status },
    ...(trace !== undefined && { trace }),
  };
}

type Side = 'request' | 'response';

function bodyOf(id: string, action: ActionEvent, response: ResponseEvent, maxBody: number): Buffer {
  const serialize = (...without: Side[]) => Buffer.from(JSON.stringify(cloudEvent(id, action, response, without)));
  const whole = serialize();
  if (whole.length <= maxBody) return whole;
  const withRequest = serialize('response');
  return withRequest.length <= maxBody ? withRequest : serialize('response', 'request');
}

function cloudEvent(id: string, action: ActionEvent, response: ResponseEvent, without: readonly Side[]): object {
  const { caller, service, route, method, target, trace } = action;
  const { outcome, attempts, finishedAt } = response;
  const answer = replay(response, false);
  const data: FeedData = {
    call: { id: action.id, caller, service, route, method, target, outcome },
    request: message(action, without.includes('request')),
    response: { status: answer.status, ...message(answer, without.includes('response')) },
    attempts: attempts.length,
    acceptedAt: new Date(action.acceptedAt).toISOString(),
    answeredAt: new Date(finishedAt).toISOString(),
  };
  return {
    specversion: '1.0',
    id,
    source: `/services/${service}`,
    type: 'holdline.call.v1',
    subject: action.id,
    time: new Date(finishedAt).toISOString(),
    datacontenttype: 'application/json',
    ...trace,
    data,
  };
}

function message(
  { headers, body, bodyRef }: Pick<ActionEvent, 'headers' | 'body' | 'bodyRef'>,
  isLeftOut: boolean,
): FeedMessage {
  const shown = shownHeaders(headers);
  if (isLeftOut || bodyRef !== undefined) return { headers: shown, bodySize: bodyRef?.size ?? body.byteLength };
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  return isUtf8(bytes)
    ? { headers: shown, body: bytes.toString('utf8') }
    : { headers: shown, bodyBase64: bytes.toString('base64') };
}
