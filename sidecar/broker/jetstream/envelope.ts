import { headers as newHeaders, type Msg, type MsgHdrs, MsgHdrsImpl } from '@nats-io/transport-node';
import type { BroadcastEvent } from '../../model/broadcast.ts';
import type { ActionEvent, ResponseEvent, TraceContext } from '../../model/call.ts';
import { formatVersionOf } from '../../model/codec.ts';
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
  /** The sequence of the event that a delivery in order is of. */
  position: 'Holdline-Position',
} as const;

const SPEC_VERSION = '1.0';

/**
 * Headers that are only sent. The library's own check, fold and join each field by itself, which costs more than the rest of
 * the message; what stands here are names of ours, ids, service names and values from HTTP headers, none with a line break.
 */
class WrittenHeaders extends MsgHdrsImpl {
  readonly #text: string;

  constructor(fields: string) {
    super();
    this.#text = `NATS/1.0\r\n${fields}\r\n`;
  }

  override toString(): string {
    return this.#text;
  }

  override encode(): Uint8Array {
    return Buffer.from(this.#text);
  }
}

/** @param resent it was sent before and may be stored already */
export function actionHeaders(action: ActionEvent, subjects: Subjects, resent = false): MsgHdrsImpl {
  const { id, round, caller } = action;
  return new WrittenHeaders(
    `${header.messageId}: ${id}:${round}\r\n` +
      `${header.expectedLastSequence}: 0\r\n` +
      `${header.reply}: ${subjects.response(caller, id)}\r\n` +
      (resent ? `${header.resent}: 1\r\n` : '') +
      common(id, `action.v${formatVersionOf(action)}`, caller, action.trace),
  );
}

export function responseHeaders(response: ResponseEvent, expectedLastSequence: number): MsgHdrsImpl {
  const { id, service } = response.call;
  return new WrittenHeaders(
    `${header.expectedLastSequence}: ${expectedLastSequence}\r\n` +
      common(id, `response.v${formatVersionOf(response.answer)}`, service, response.trace),
  );
}

export function broadcastHeaders(event: BroadcastEvent): MsgHdrsImpl {
  const { id, topic, publisher, at } = event;
  return new WrittenHeaders(
    `${header.messageId}: ${id}\r\n` +
      `${header.expectedLastSequence}: 0\r\n` +
      `ce-time: ${new Date(at).toISOString()}\r\n` +
      attributes(id, topic, publisher, event.trace),
  );
}

function common(id: string, type: string, source: string, trace: TraceContext | undefined): string {
  return `${header.callId}: ${id}\r\n${attributes(id, `holdline.${type}`, source, trace)}`;
}

/** CloudEvents attributes and trace context. */
function attributes(id: string, type: string, source: string, trace: TraceContext | undefined): string {
  const event =
    `ce-specversion: ${SPEC_VERSION}\r\n` +
    `ce-type: ${type}\r\n` +
    `ce-source: /services/${source}\r\n` +
    `ce-id: ${id}\r\n`;
  if (trace === undefined) return event;
  const { traceparent, tracestate } = trace;
  const state = tracestate === undefined ? '' : `tracestate: ${tracestate}\r\n`;
  return `${event}traceparent: ${traceparent}\r\n${state}`;
}

/**
 * Whether a delivered message was sent more than once. The library reads all headers of a message to tell one, which costs as much as
 * the rest of its delivery, so the bytes are searched for the name before.
 */
export function wasResent(msg: Msg): boolean {
  const { _rdata: bytes } = msg as { readonly _rdata?: unknown };
  if (
    bytes instanceof Uint8Array &&
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).indexOf(header.resent) === -1
  ) {
    return false;
  }
  return msg.headers?.has(header.resent) === true;
}

/** Headers for a stored action that is stored once more, without what belonged to its first storing. */
export function copyHeaders(stored: MsgHdrs | undefined, expectedLastSequence: number): MsgHdrs {
  const headers = newHeaders();
  for (const name of stored?.keys() ?? []) if (!name.startsWith('Nats-')) headers.set(name, stored!.get(name));
  headers.set(header.expectedLastSequence, String(expectedLastSequence));
  headers.set(header.resent, '1');
  return headers;
}

/** Headers of a delivery that waits for its turn. @param position the sequence of its event */
export function turnHeaders(position: number): MsgHdrsImpl {
  return new WrittenHeaders(`${header.expectedLastSequence}: 0\r\n${header.position}: ${position}\r\n`);
}

export function positionOf(stored: MsgHdrs | undefined): number | undefined {
  const position = stored?.get(header.position) ?? '';
  return position === '' ? undefined : Number(position);
}

/** Headers of a record that replaces the one with this sequence (0: there is none yet). */
export function recordHeaders(expectedLastSequence: number): MsgHdrsImpl {
  return new WrittenHeaders(`${header.expectedLastSequence}: ${expectedLastSequence}\r\n`);
}
