import type { BroadcastEvent } from './broadcast.ts';
import type {
  ActionEvent,
  Answer,
  AttemptRecord,
  BodyRef,
  DeadLetterReason,
  Progress,
  RawHeaders,
  ResponseEvent,
  TraceContext,
} from './call.ts';

/**
 * Events as bytes: `u32 length of the head, big endian | head, JSON in UTF-8 | body`. The HTTP head travels in the payload
 * and not in broker headers, because those fold case, order and duplicates and are limited in size.
 * `sidecar/docs/events.md` documents every field; `v` is the version of the format.
 */
export const FORMAT_VERSION = 1;
/** Of events whose body is stored apart. A reader of version 1 would take the body for empty, so it must not read them. */
const FORMAT_VERSION_APART = 2;

/** The bytes are not an event of a version that this program reads. */
export class EventFormatError extends Error {
  override readonly name = 'EventFormatError';
}

const noBody = new Uint8Array(0);

function frame(head: object, body: Uint8Array): Uint8Array {
  const text = JSON.stringify(head);
  const length = Buffer.byteLength(text);
  const bytes = Buffer.allocUnsafe(4 + length + body.length);
  bytes.writeUInt32BE(length, 0);
  bytes.write(text, 4, length, 'utf8');
  bytes.set(body, 4 + length);
  return bytes;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function unframe(bytes: Uint8Array, kind: string): { head: Record<string, unknown>; body: Uint8Array } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (buffer.length < 4) throw new EventFormatError(`${kind}: ${buffer.length} bytes are too short for an event`);
  const length = buffer.readUInt32BE(0);
  if (4 + length > buffer.length) {
    throw new EventFormatError(`${kind}: the head claims ${length} bytes, the event has ${buffer.length}`);
  }
  let head: unknown;
  try {
    head = JSON.parse(buffer.toString('utf8', 4, 4 + length));
  } catch (cause) {
    throw new EventFormatError(`${kind}: the head is not JSON`, { cause });
  }
  if (!isObject(head)) throw new EventFormatError(`${kind}: the head is not an object`);
  const { v } = head;
  if (v !== FORMAT_VERSION && v !== FORMAT_VERSION_APART) {
    throw new EventFormatError(
      `${kind}: version ${String(v)} of the event format, this program reads ${FORMAT_VERSION} and ${FORMAT_VERSION_APART}`,
    );
  }
  return { head, body: buffer.subarray(4 + length) };
}

function demand(head: unknown, kind: string, fields: readonly string[]): unknown {
  if (!isObject(head)) throw new EventFormatError(`${kind}: not an object`);
  for (const field of fields) {
    if (head[field] === undefined) throw new EventFormatError(`${kind}: the head lacks "${field}"`);
  }
  return head;
}

const actionFields = [
  'id',
  'caller',
  'service',
  'method',
  'target',
  'headers',
  'acceptedAt',
  'deadline',
  'idempotent',
  'retry',
];

/** The format version of an event that holds `bodied`. */
export function formatVersionOf(bodied: { readonly bodyRef?: BodyRef } | undefined): number {
  return bodied?.bodyRef === undefined ? FORMAT_VERSION : FORMAT_VERSION_APART;
}

/** A reference as an event tells it; who published the event may be anybody. */
function bodyRefOf(ref: unknown, kind: string): BodyRef {
  const { id, chunks, size, sha256 } = demand(ref, `bodyRef in ${kind}`, []) as BodyRef;
  const isRef =
    typeof id === 'string' &&
    Number.isSafeInteger(chunks) &&
    chunks > 0 &&
    Number.isSafeInteger(size) &&
    size > 0 &&
    typeof sha256 === 'string' &&
    /^[0-9a-f]{64}$/.test(sha256);
  if (!isRef) throw new EventFormatError(`${kind}: ${JSON.stringify(ref)} is not a reference to a body`);
  return { id, chunks, size, sha256 };
}

type ActionHead = Omit<ActionEvent, 'body'>;

function actionHead(action: ActionEvent): ActionHead {
  const { body: _, ...head } = action;
  return head;
}

function actionOf(head: ActionHead, body: Uint8Array): ActionEvent {
  return {
    ...head,
    round: head.round ?? 1,
    route: head.route ?? '',
    trailers: head.trailers ?? [],
    earlier: head.earlier ?? [],
    keyed: head.keyed ?? false,
    hasBody: head.hasBody ?? (body.length > 0 || head.bodyRef !== undefined),
    fingerprint: head.fingerprint ?? '',
    maxBody: head.maxBody ?? Number.MAX_SAFE_INTEGER,
    body,
    ...(head.bodyRef !== undefined && { bodyRef: bodyRefOf(head.bodyRef, 'action') }),
  };
}

export function encodeAction(action: ActionEvent): Uint8Array {
  return frame({ v: formatVersionOf(action), ...actionHead(action) }, action.body);
}

/** @throws {EventFormatError} */
export function decodeAction(bytes: Uint8Array): ActionEvent {
  const { head, body } = unframe(bytes, 'action');
  const { v: _, ...fields } = head;
  return actionOf(demand(fields, 'action', actionFields) as ActionHead, body);
}

interface AnswerHead {
  readonly status: number;
  readonly reason: string;
  readonly headers: RawHeaders;
  readonly trailers: RawHeaders;
  readonly bodyRef?: BodyRef;
}

function answerHead(answer: Answer): AnswerHead {
  const { status, reason, headers, trailers, bodyRef } = answer;
  const head = { status, reason, headers, trailers };
  return bodyRef === undefined ? head : { ...head, bodyRef };
}

function answerOf(answer: unknown, body: Uint8Array, kind: string): Answer {
  const head = demand(answer, `answer in ${kind}`, ['status']) as AnswerHead;
  if (!Number.isInteger(head.status) || head.status < 100 || head.status > 999) {
    throw new EventFormatError(`${kind}: ${String(head.status)} is not an HTTP status`);
  }
  return {
    status: head.status,
    reason: head.reason ?? '',
    headers: head.headers ?? [],
    trailers: head.trailers ?? [],
    body,
    ...(head.bodyRef !== undefined && { bodyRef: bodyRefOf(head.bodyRef, kind) }),
  };
}

export function encodeResponse(response: ResponseEvent): Uint8Array {
  const { answer, ...rest } = response;
  if (answer === undefined) return frame({ v: FORMAT_VERSION, ...rest }, noBody);
  return frame({ v: formatVersionOf(answer), ...rest, answer: answerHead(answer) }, answer.body);
}

/** @throws {EventFormatError} */
export function decodeResponse(bytes: Uint8Array): ResponseEvent {
  const { head, body } = unframe(bytes, 'response');
  const { v: _, answer, ...fields } = head;
  const response = demand(fields, 'response', ['call', 'outcome']) as Omit<ResponseEvent, 'answer'>;
  return {
    ...response,
    attempts: response.attempts ?? [],
    finishedAt: response.finishedAt ?? Date.now(),
    fingerprint: response.fingerprint ?? '',
    ...(answer !== undefined && { answer: answerOf(answer, body, 'response') }),
  };
}

/** Progress as stored, with what the adapter needs to know beside it. */
export interface StoredProgress {
  readonly progress: Progress;
  /** Deliveries of this round whose end is known. */
  readonly accounted: number;
  /** Whoever ends the call also publishes it; see `TakeOptions.publishCalls`. */
  readonly feed?: boolean;
}

export function encodeProgress(stored: StoredProgress): Uint8Array {
  const { answer, ...rest } = stored.progress;
  const feed = stored.feed === true ? { feed: true } : undefined;
  const head = { v: formatVersionOf(answer), accounted: stored.accounted, ...feed, ...rest };
  if (answer === undefined) return frame(head, noBody);
  return frame({ ...head, answer: answerHead(answer) }, answer.body);
}

/** @throws {EventFormatError} */
export function decodeProgress(bytes: Uint8Array): StoredProgress {
  const { head, body } = unframe(bytes, 'progress');
  const { v: _, answer, accounted, feed, ...fields } = head;
  const progress = demand(fields, 'progress', ['attempts']) as Progress;
  return {
    progress: {
      ...progress,
      ...(answer !== undefined && { answer: answerOf(answer, body, 'progress') }),
    },
    accounted: typeof accounted === 'number' ? accounted : 0,
    ...(feed === true && { feed }),
  };
}

/** A dead letter as stored: the action, to replay it, and the history that led here. */
export interface StoredDeadLetter {
  readonly action: ActionEvent;
  readonly reason: DeadLetterReason;
  readonly diedAt: number;
  /** Status of the callee's last real answer. */
  readonly status?: number;
  /** Attempts of every round. */
  readonly history: readonly AttemptRecord[];
  readonly trace?: TraceContext;
}

export function encodeDeadLetter(letter: StoredDeadLetter): Uint8Array {
  const { action, ...rest } = letter;
  return frame({ v: formatVersionOf(action), ...rest, action: actionHead(action) }, action.body);
}

/** @throws {EventFormatError} */
export function decodeDeadLetter(bytes: Uint8Array): StoredDeadLetter {
  const { head, body } = unframe(bytes, 'dead letter');
  const { v: _, action, ...fields } = head;
  const letter = demand(fields, 'dead letter', ['reason', 'diedAt', 'history']) as Omit<StoredDeadLetter, 'action'>;
  return {
    ...letter,
    action: actionOf(demand(action, 'action', actionFields) as ActionHead, body),
  };
}

const broadcastFields = ['id', 'topic', 'publisher', 'headers', 'at'];

export function encodeBroadcast(event: BroadcastEvent): Uint8Array {
  const { body, ...head } = event;
  return frame({ v: FORMAT_VERSION, ...head }, body);
}

/** @throws {EventFormatError} */
export function decodeBroadcast(bytes: Uint8Array): BroadcastEvent {
  const { head, body } = unframe(bytes, 'broadcast');
  return broadcastOf(head, body);
}

/**
 * What may wait for a subscription: an event, or the action event of a delivery that is made again.
 * @throws {EventFormatError}
 */
export function decodeQueued(bytes: Uint8Array): { event: BroadcastEvent } | { action: ActionEvent } {
  const { head, body } = unframe(bytes, 'delivery');
  if (head['topic'] !== undefined) return { event: broadcastOf(head, body) };
  const { v: _, ...fields } = head;
  return { action: actionOf(demand(fields, 'action', actionFields) as ActionHead, body) };
}

function broadcastOf(head: Record<string, unknown>, body: Uint8Array): BroadcastEvent {
  const { v: _, ...fields } = head;
  const event = demand(fields, 'broadcast', broadcastFields) as Omit<BroadcastEvent, 'body'>;
  return {
    ...event,
    route: event.route ?? '',
    hasBody: event.hasBody ?? body.length > 0,
    fingerprint: event.fingerprint ?? '',
    body,
  };
}
