import { keyedCallId } from '../../sidecar/model/call-id.ts';
import type { BroadcastEvent } from '../../sidecar/model/broadcast.ts';
import {
  conclude,
  type ActionEvent,
  type Answer,
  type AttemptRecord,
  type Outcome,
  type Progress,
  type ResponseEvent,
} from '../../sidecar/model/call.ts';

const minute = 60_000;

/** An action event with nothing special about it; each test names what it is about. */
export function anAction(fields: Partial<ActionEvent> & Pick<ActionEvent, 'id'>): ActionEvent {
  const acceptedAt = Date.now();
  return {
    round: 1,
    caller: 'orders',
    service: 'payments',
    route: 'charge',
    method: 'POST',
    target: '/charges',
    headers: ['Host', 'payments', 'Content-Type', 'text/plain'],
    trailers: [],
    body: Buffer.from('a charge'),
    hasBody: true,
    acceptedAt,
    deadline: acceptedAt + 10 * minute,
    idempotent: false,
    retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [503] },
    keyed: false,
    fingerprint: 'print',
    maxBody: 1024 * 1024,
    earlier: [],
    ...fields,
  };
}

/** A broadcast event with nothing special about it. */
export function anEvent(fields: Partial<BroadcastEvent> & Pick<BroadcastEvent, 'id'>): BroadcastEvent {
  return {
    topic: 'order.paid',
    publisher: 'orders',
    route: 'order-paid',
    headers: ['Content-Type', 'application/json'],
    body: Buffer.from('{}'),
    hasBody: true,
    at: Date.now(),
    fingerprint: 'print',
    ...fields,
  };
}

/** The id of the call that a key names, towards `payments`. */
export function keyedId(key: string): string {
  return keyedCallId({ caller: 'orders', service: 'payments', method: 'POST', path: '/charges', key });
}

export function anAnswer(text: string, fields: Partial<Answer> = {}): Answer {
  return {
    status: 200,
    reason: 'OK',
    headers: ['Content-Type', 'text/plain'],
    trailers: [],
    body: Buffer.from(text),
    ...fields,
  };
}

/** The attempt with this number, with what it showed. */
export function anAttempt(
  attempt: number,
  evidence: AttemptRecord['evidence'],
  fields: Partial<AttemptRecord> = {},
): AttemptRecord {
  return { attempt, at: 1_700_000_000_000 + attempt, ms: 12, evidence, instance: 'tester', ...fields };
}

/** The response event of a call that was answered. */
export function answered(action: ActionEvent, text: string, progress: Progress = { attempts: [] }): ResponseEvent {
  const record = anAttempt(action.earlier.length + progress.attempts.length + 1, 'answered', { status: 200 });
  const known: Progress = { attempts: [...progress.attempts, record], answer: anAnswer(text) };
  return conclude(action, known, 'answered', Date.now());
}

/** The response event of a call that Holdline gave up on. */
export function givenUp(action: ActionEvent, outcome: Outcome, progress: Progress = { attempts: [] }): ResponseEvent {
  return conclude(action, progress, outcome, Date.now());
}

/** The text that was answered; undefined where there is no real answer. */
export function textOf(response: ResponseEvent): string | undefined {
  return response.answer === undefined ? undefined : Buffer.from(response.answer.body).toString();
}

/** An event as plain data: a Buffer and a Uint8Array with the same bytes are the same body. */
export function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return { base64: Buffer.from(value).toString('base64') };
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]));
}
