import { STATUS_CODES } from 'node:http';
import { endToEndAnswer, soleValue, withoutField } from './headers.ts';
import {
  bodySize,
  type Answer,
  type BodyRef,
  type CallFacts,
  type RawHeaders,
  type ResponseEvent,
} from '../model/call.ts';
import type { ProblemCode } from '../model/problem-code.ts';

/** An answer ready to be written to a caller. Every answer that Holdline makes is built in this file. */
export interface Reply {
  readonly status: number;
  readonly reason: string;
  readonly headers: RawHeaders;
  readonly body: Uint8Array;
  /** The body is stored apart and must be read from there. */
  readonly bodyRef?: BodyRef;
  readonly trailers: RawHeaders;
  /** The call that it is about. */
  readonly callId?: string;
  /** It is Holdline's own refusal or failure. */
  readonly problem?: ProblemCode;
  /** Served from the store after a caller has had it before. */
  readonly replayed: boolean;
  /** The connection ends with it. */
  readonly close: boolean;
}

interface ProblemKind {
  readonly status: number;
  readonly title: string;
  /** A proxy error type (RFC 9209 §2.3), for `Proxy-Status`. */
  readonly error: string;
}

const kinds: Readonly<Record<ProblemCode, ProblemKind>> = {
  'hold-expired': { status: 504, title: 'No answer yet', error: 'http_response_timeout' },
  exhausted: { status: 502, title: 'All attempts failed', error: 'destination_unavailable' },
  'outcome-unknown': { status: 502, title: 'Sent, but no answer came', error: 'connection_terminated' },
  'deadline-exceeded': { status: 504, title: 'The deadline passed', error: 'destination_unavailable' },
  cancelled: { status: 410, title: 'The call was cancelled', error: 'proxy_internal_response' },
  'answer-too-large': { status: 502, title: 'The answer is too large', error: 'http_response_body_size' },
  'upstream-unreachable': { status: 502, title: 'The callee cannot be reached', error: 'destination_unavailable' },
  'shutting-down': { status: 503, title: 'Holdline is stopping', error: 'proxy_internal_response' },
  'broker-unavailable': { status: 503, title: 'The call cannot be stored now', error: 'proxy_internal_error' },
  overloaded: { status: 503, title: 'Too many calls are held', error: 'connection_limit_reached' },
  'body-too-large': { status: 413, title: 'The request body is too large', error: 'http_request_error' },
  'key-reused': { status: 422, title: 'The key belongs to another request', error: 'http_request_error' },
  'not-routed': { status: 403, title: 'No route leads there', error: 'http_request_denied' },
  'bad-request': { status: 400, title: 'Bad request', error: 'http_request_error' },
  'call-unknown': { status: 404, title: 'No such call', error: 'http_request_error' },
  'call-started': { status: 409, title: 'The call has started', error: 'http_request_error' },
};

export interface ProblemOptions {
  /** What happened and what can be done, for people. */
  readonly detail: string;
  readonly callId?: string | undefined;
  /** Where the code's usual status does not fit. */
  readonly status?: number;
  /** Where a more precise proxy error type than the code's is known. */
  readonly error?: string;
  /** When trying or asking again makes sense, ms. */
  readonly retryAfter?: number;
  /** Says where the call can be asked for. */
  readonly located?: boolean;
  readonly allow?: string;
  readonly close?: boolean;
}

/** A problem (RFC 9457) of Holdline's own. */
export function problem(code: ProblemCode, options: ProblemOptions): Reply {
  const { status: usual, title, error: usualError } = kinds[code];
  const { detail, callId, status = usual, error = usualError, retryAfter, located, allow, close = false } = options;
  const headers = ['Proxy-Status', `holdline; error=${error}`, 'Holdline-Error', code];
  if (located && callId !== undefined) headers.push('Location', locationOf(callId));
  if (retryAfter !== undefined) headers.push('Retry-After', inSeconds(retryAfter));
  if (allow !== undefined) headers.push('Allow', allow);
  const document = {
    type: `urn:holdline:problem:${code}`,
    title,
    status,
    detail,
    ...(callId !== undefined && { callId }),
  };
  return { ...own(status, headers, 'application/problem+json', document, callId), problem: code, close };
}

/** A refusal of a request that the HTTP parser did not take; the connection ends with it. */
export function malformed(detail: string, status: 400 | 408 | 431 | 501 = 400): Reply {
  return problem('bad-request', { detail, status, close: true });
}

/** A coding that is not known is 501; the known one twice, or an empty one, is no framing at all (RFC 9112 §6.1). */
export function strangeCoding(codings: string): Reply {
  const isKnown = codings.split(',').every((coding) => ['', 'chunked'].includes(coding.trim().toLowerCase()));
  return isKnown
    ? malformed('Transfer-Encoding names chunked once, and nothing else.')
    : malformed('The only transfer coding that is taken is chunked.', 501);
}

/** How a stored call stands, in the words of `calls list`. */
export type StoredState = 'waiting' | 'attempting' | 'answered' | 'dead';

/** `202`: the call is stored and goes on without its caller. */
export function accepted(id: string, state: StoredState, retryAfter?: number): Reply {
  const headers = ['Location', locationOf(id)];
  if (retryAfter !== undefined) headers.push('Retry-After', inSeconds(retryAfter));
  return own(202, headers, 'application/json', { id, state }, id);
}

/** `202`: the broadcast event is stored. Nobody answers it, so there is nothing to ask for later. */
export function published(id: string, topic: string): Reply {
  return own(202, [], 'application/json', { id, topic }, id);
}

/** `202`: how an open call stands, for the one who asks. */
export function callStatus(call: CallFacts, state: StoredState, retryAfter: number): Reply {
  const { id, service, route, method, target, round } = call;
  const query = target.indexOf('?');
  const document = {
    id,
    state,
    service,
    route,
    method,
    path: query < 0 ? target : target.slice(0, query),
    round,
    acceptedAt: new Date(call.acceptedAt).toISOString(),
    deadline: new Date(call.deadline).toISOString(),
  };
  const headers = ['Location', locationOf(id), 'Retry-After', inSeconds(retryAfter)];
  return own(202, headers, 'application/json', document, id);
}

/** `204`: the call was cancelled. */
export function cancelled(id: string): Reply {
  return {
    status: 204,
    reason: 'No Content',
    headers: ['Holdline-Call-Id', id],
    body: nothing,
    trailers: [],
    callId: id,
    replayed: false,
    close: false,
  };
}

/**
 * What a stored response event is to a caller: the callee's answer as it was, or the problem of its outcome.
 * @param replayed a caller has had it before
 */
export function replay(response: ResponseEvent, replayed: boolean): Reply {
  const { answer, outcome, call } = response;
  const callId = call.id;
  switch (outcome) {
    case 'answered':
      return answer === undefined ? unanswered(response) : answerOf(answer, call, replayed);
    case 'exhausted':
    case 'deadline-exceeded':
      return answer === undefined ? unanswered(response) : answerOf(answer, call, replayed, outcome);
    case 'outcome-unknown':
    case 'answer-too-large':
    case 'cancelled':
      return unanswered(response);
    case 'discarded':
      return problem('call-unknown', { detail: 'An operator discarded this call.', callId });
  }
}

function unanswered({ outcome, call, attempts }: ResponseEvent): Reply {
  const callId = call.id;
  const last = attempts.at(-1)?.detail;
  const because = last === undefined ? '' : ` Last: ${last}.`;
  switch (outcome) {
    case 'exhausted':
      return problem('exhausted', {
        detail: `${call.service} gave no answer in ${attempts.length} attempts.${because}`,
        callId,
      });
    case 'deadline-exceeded':
      return problem('deadline-exceeded', {
        detail: `The deadline of the call to ${call.service} passed before it was answered.${because}`,
        callId,
      });
    case 'answer-too-large':
      return problem('answer-too-large', {
        detail: `${call.service} answered, but the answer's body is over maxBody.`,
        callId,
      });
    case 'cancelled':
      return problem('cancelled', { detail: `The call was cancelled; ${call.service} never got it.`, callId });
    default:
      return problem('outcome-unknown', {
        detail:
          `The request was sent to ${call.service} and no answer came, so it may have been carried out. ` +
          `It is not idempotent and is not repeated; an operator decides.${because}`,
        callId,
      });
  }
}

function answerOf(answer: Answer, call: CallFacts, replayed: boolean, outcome?: string): Reply {
  let headers = endToEndAnswer(answer.headers);
  const length = soleValue(headers, 'content-length');
  const bodyless = call.method === 'HEAD' || answer.status === 304 || answer.status === 204;
  if (length === null || (length !== undefined && !bodyless && Number(length) !== bodySize(answer))) {
    // Responses can be published by hand; a false length would put the next answer on this connection out of step.
    headers = withoutField(headers, 'content-length');
  }
  headers.push('Holdline-Call-Id', call.id);
  if (replayed) headers.push('Idempotent-Replayed', 'true');
  if (outcome !== undefined) headers.push('Holdline-Outcome', outcome);
  const { status, reason, body, bodyRef, trailers } = answer;
  const reply = { status, reason, headers, body, trailers, callId: call.id, replayed, close: false };
  return bodyRef === undefined ? reply : { ...reply, bodyRef };
}

/** In place of a stored answer whose body cannot be read. @param retryAfter ms; absent: it never can be read again */
export function unreadable(reply: Reply, why: string, retryAfter?: number): Reply {
  const { callId, status } = reply;
  if (retryAfter !== undefined) {
    const detail = `The call is answered, but the broker cannot give the body of the answer now: ${why}.`;
    return problem('broker-unavailable', { detail, callId, located: true, retryAfter });
  }
  const detail = `The call was carried out and answered with ${status}, but the body of the answer is lost: ${why}.`;
  return problem('outcome-unknown', { detail, callId });
}

/** In place of a stored answer that is no HTTP, as one that was published by hand may be. */
export function unwritable({ callId }: Reply, why: string): Reply {
  const detail = `The call was carried out, but what is stored as its answer cannot be written: ${why}.`;
  return problem('outcome-unknown', { detail, callId });
}

const nothing = Buffer.alloc(0);

function own(status: number, headers: string[], type: string, document: object, callId: string | undefined): Reply {
  const body = Buffer.from(`${JSON.stringify(document)}\n`);
  headers.push('Content-Type', type, 'Content-Length', String(body.length));
  if (callId !== undefined) headers.push('Holdline-Call-Id', callId);
  const reason = STATUS_CODES[status] ?? '';
  return {
    status,
    reason,
    headers,
    body,
    trailers: [],
    replayed: false,
    close: false,
    ...(callId !== undefined && { callId }),
  };
}

/** Where the caller of a call asks for it: relative, as `/.holdline/` is reserved on every listener for any host. */
function locationOf(id: string): string {
  return `/.holdline/calls/${id}`;
}

function inSeconds(ms: number): string {
  return String(Math.max(1, Math.ceil(ms / 1000)));
}
