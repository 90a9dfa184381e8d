import { headers as newHeaders, type MsgHdrs } from '@nats-io/transport-node';
import type { BroadcastEvent } from '../../model/broadcast.ts';
import type { ActionEvent, ResponseEvent } from '../../model/call.ts';
import type { Subjects } from './subjects.ts';

/**
 * The headers around an event: what the broker needs, what CloudEvents 1.0 asks for (NATS binding: `ce-` attributes), and the
 * W3C trace context. The names are public, see `sidecar/docs/events.md`.
 */
export const header = {
  messageId: 'Nats-Msg-Id',
  expectedLastSequence: 'Nats-Expected-Last-Subject-Sequence',
  callId: 'Holdline-Call-Id',
  /** Subject to store the response under. */
  reply: 'Holdline-Reply',
  /** Sent more than once: it may have been stored, and even finished, before. */
  resent: 'Holdline-Resent',
} as const;

const SPEC_VERSION = '1.0';

export function actionHeaders(action: ActionEvent, subjects: Subjects): MsgHdrs {
  const headers = newHeaders();
  headers.append(header.messageId, `${action.id}:${action.round}`);
  headers.append(header.expectedLastSequence, '0');
  headers.append(header.callId, action.id);
  headers.append(header.reply, subjects.response(action.caller, action.id));
  headers.append('ce-specversion', SPEC_VERSION);
  headers.append('ce-type', 'holdline.action.v1');
  headers.append('ce-source', `/services/${action.caller}`);
  headers.append('ce-id', action.id);
  appendTrace(headers, action);
  return headers;
}

export function broadcastHeaders(event: BroadcastEvent): MsgHdrs {
  const headers = newHeaders();
  headers.append(header.messageId, event.id);
  headers.append(header.expectedLastSequence, '0');
  headers.append('ce-specversion', SPEC_VERSION);
  headers.append('ce-type', event.topic);
  headers.append('ce-source', `/services/${event.publisher}`);
  headers.append('ce-id', event.id);
  headers.append('ce-time', new Date(event.at).toISOString());
  appendTrace(headers, event);
  return headers;
}

export function responseHeaders(response: ResponseEvent, expectedLastSequence: number): MsgHdrs {
  const headers = newHeaders();
  headers.append(header.expectedLastSequence, String(expectedLastSequence));
  headers.append(header.callId, response.call.id);
  headers.append('ce-specversion', SPEC_VERSION);
  headers.append('ce-type', 'holdline.response.v1');
  headers.append('ce-source', `/services/${response.call.service}`);
  headers.append('ce-id', response.call.id);
  appendTrace(headers, response);
  return headers;
}

function appendTrace(headers: MsgHdrs, event: ActionEvent | ResponseEvent | BroadcastEvent): void {
  if (event.trace === undefined) return;
  headers.append('traceparent', event.trace.traceparent);
  if (event.trace.tracestate !== undefined) headers.append('tracestate', event.trace.tracestate);
}

/** Headers of a record that replaces the one with this sequence (0: there is none yet). */
export function recordHeaders(expectedLastSequence: number): MsgHdrs {
  const headers = newHeaders();
  headers.append(header.expectedLastSequence, String(expectedLastSequence));
  return headers;
}
