import { createHash } from 'node:crypto';
import { type ClientResponse, request } from '../support/http-client.ts';
import type { HeaderList } from '../support/header-list.ts';
import { digestOf } from './broadcast-history.ts';
import type { Answered } from './history.ts';
import type { Task } from './workload.ts';

/** A sidecar of the callers, as callers know it. */
export interface Door {
  readonly name: string;
  readonly url: string;
}

/** What one request came to. */
export type Result =
  | { readonly kind: 'accepted'; readonly call: string; readonly status: number }
  | { readonly kind: 'answered'; readonly call: string; readonly answer: AnswerFacts }
  | { readonly kind: 'refused'; readonly status: number; readonly code: string }
  | { readonly kind: 'unknown'; readonly detail: string }
  /** Of a look-up: there is no such call. */
  | { readonly kind: 'missing' };

/** What one request to publish came to. */
export type PublishResult =
  | { readonly kind: 'published'; readonly event: string; readonly topic: string }
  | Extract<Result, { kind: 'refused' | 'unknown' }>;

type AnswerFacts = Pick<Answered, 'status' | 'digest' | 'echo' | 'outcome' | 'error'>;

/** A caller gives up on a silent connection after this, ms: longer than any hold of the workload. */
const patience = 12_000;
/** What Holdline says in place of the answer of a call that it gave up. */
const endings = new Set(['exhausted', 'deadline-exceeded', 'outcome-unknown', 'answer-too-large', 'cancelled']);
/** Of the connection, of Holdline or of the moment, not of the answer. */
const passing = /^(connection|keep-alive|transfer-encoding|idempotent-replayed|holdline-.*|proxy-status)$/i;

/** Sends what a task wants through a door. */
export async function send(task: Task, door: Door): Promise<Result> {
  const { method, path, token, key, order, async, ballast } = task;
  const headers: [string, string][] = [['X-Token', token]];
  if (key !== undefined) headers.push(['Idempotency-Key', key]);
  if (order !== undefined) headers.push(['X-Order', order.key]);
  if (async) headers.push(['Prefer', 'respond-async']);
  const body = JSON.stringify({ token, ballast: 'x'.repeat(ballast) });
  const hasBody = method !== 'GET';
  if (hasBody) headers.push(['Content-Type', 'application/json']);
  return ask(`http://payments${path}`, { method, headers, ...(hasBody && { body }), listener: door.url });
}

/** What a broadcast sends, and what its subscribers must get. */
export function messageOf({ token, ballast, key }: Task): { contentType: string; body: string; digest: string } {
  const contentType = key === undefined ? 'application/json' : 'text/plain; charset=utf-8';
  const body = JSON.stringify({ token, ballast: 'x'.repeat(ballast) });
  return { contentType, body, digest: digestOf(contentType, body) };
}

/** Sends what is to become a broadcast event through a door. */
export async function publish(task: Task, door: Door): Promise<PublishResult> {
  const { method, path, token, key } = task;
  const { contentType, body } = messageOf(task);
  const headers: [string, string][] = [
    ['X-Token', token],
    ['Content-Type', contentType],
  ];
  if (key !== undefined) headers.push(['Idempotency-Key', key]);
  const response = await attempt(`http://news${path}`, { method, headers, body, listener: door.url });
  return 'kind' in response ? response : classifyPublication(response);
}

/** Looks a call up. @param wait how long the sidecar may hold the look-up, s */
export async function lookUp(call: string, door: Door, wait = 0): Promise<Result> {
  const headers: [string, string][] = wait > 0 ? [['Prefer', `wait=${wait}`]] : [];
  return ask(`${door.url}/.holdline/calls/${call}`, { headers });
}

/** Cancels a call; `cancelled` only where the sidecar says that it is. */
export async function cancel(call: string, door: Door): Promise<'cancelled' | 'otherwise'> {
  try {
    const { status } = await request(`${door.url}/.holdline/calls/${call}`, { method: 'DELETE', timeoutMs: patience });
    return status === 204 ? 'cancelled' : 'otherwise';
  } catch {
    // Cancelled or not: the look-up that follows will tell.
    return 'otherwise';
  }
}

async function ask(url: string, options: Parameters<typeof request>[1]): Promise<Result> {
  const response = await attempt(url, options);
  return 'kind' in response ? response : classify(response);
}

async function attempt(
  url: string,
  options: Parameters<typeof request>[1],
): Promise<ClientResponse | Extract<Result, { kind: 'refused' | 'unknown' }>> {
  try {
    return await request(url, { timeoutMs: patience, ...options });
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    if (code === 'ECONNREFUSED') return { kind: 'refused', status: 0, code: 'unreachable' };
    return { kind: 'unknown', detail: code || String(error) };
  }
}

/** Reads an answer as the contract words it. */
export function classify(response: ClientResponse): Result {
  const { status } = response;
  const code = response.header('holdline-error');
  const call = response.header('holdline-call-id') ?? '';
  if (code === 'call-unknown') return { kind: 'missing' };
  const ending = code !== undefined && endings.has(code);
  if (!ending && (status === 202 || code !== undefined)) {
    // Stored or not: the broker has said neither, and the sidecar says so.
    if (/has not confirmed the call/.test(response.text)) return { kind: 'unknown', detail: 'not confirmed' };
    const location = /\/\.holdline\/calls\/([^/]+)$/.exec(response.header('location') ?? '')?.[1];
    if (location !== undefined) return { kind: 'accepted', call: location, status };
    // A look-up of an open call has no Location to give: it was sent there.
    if (status === 202) return { kind: 'accepted', call, status };
    return { kind: 'refused', status, code: code ?? String(status) };
  }
  if (call === '') return { kind: 'refused', status, code: 'no-call-id' };
  const outcome = response.header('holdline-outcome');
  const echo = ending ? undefined : echoOf(response.text);
  return {
    kind: 'answered',
    call,
    answer: {
      status,
      digest: digestOfAnswer(response, ending),
      ...(echo && { echo }),
      ...(outcome !== undefined && { outcome }),
      ...(code !== undefined && { error: code }),
    },
  };
}

/** Reads the answer to a publication as the contract words it. */
export function classifyPublication(response: ClientResponse): PublishResult {
  const { status, text } = response;
  if (status === 202) {
    const { id, topic } = JSON.parse(text) as { id: string; topic: string };
    return { kind: 'published', event: id, topic };
  }
  // Stored or not: the broker has said neither, and the sidecar says so.
  if (/has not confirmed the event/.test(text)) return { kind: 'unknown', detail: 'not confirmed' };
  return { kind: 'refused', status, code: response.header('holdline-error') ?? String(status) };
}

function echoOf(text: string): { token: string; nonce: string } | undefined {
  try {
    const { token, nonce } = JSON.parse(text) as { token?: string; nonce?: string };
    return token !== undefined && nonce !== undefined ? { token, nonce } : undefined;
  } catch {
    return undefined;
  }
}

/** A callee's headers are part of its answer; of a problem only the words count. */
function digestOfAnswer({ reason, headers, body }: ClientResponse, ending: boolean): string {
  const kept: HeaderList = ending ? [] : headers.filter(([name]) => !passing.test(name));
  return createHash('sha256')
    .update(JSON.stringify([reason, kept]))
    .update(body)
    .digest('hex')
    .slice(0, 32);
}
