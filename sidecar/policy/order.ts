import type { OrderKey } from '../config/config.ts';
import { deliveredHeaders, type BroadcastEvent } from '../model/broadcast.ts';
import type { RawHeaders } from '../model/call.ts';

/** What of a request an order key can be read from. */
export interface OrderedRequest {
  readonly headers: RawHeaders;
  /** Origin form, as the caller wrote it. */
  readonly target: string;
  readonly body: Uint8Array;
}

/**
 * The order key of a request: the text at the place that `orderBy` names. Undefined where there is none, or an empty one: such a
 * call waits for nobody, and nobody for it.
 *
 * - a header: its value without the blanks around it; several fields of the name count as one list (RFC 9110 §5.3)
 * - a path segment, counted from 1, or the first query parameter of the name: decoded
 * - a JSON pointer (RFC 6901) into the body, whatever its content type says: a string as it is, a number, true or false as JSON writes it
 */
export function orderKeyOf(orderBy: OrderKey, { headers, target, body }: OrderedRequest): string | undefined {
  switch (orderBy.kind) {
    case 'header':
      return headerValue(headers, orderBy.name) || undefined;
    case 'path':
      return decoded(pathOf(target).split('/')[orderBy.segment] ?? '') || undefined;
    case 'query':
      return new URLSearchParams(queryOf(target)).get(orderBy.name) || undefined;
    case 'json':
      return textOf(at(parsed(body), orderBy.pointer)) || undefined;
    default:
      return orderBy satisfies never;
  }
}

/** The order key of an event's delivery, as {@link orderKeyOf}; its attributes (`ce-source`) count as headers. */
export function eventOrderKeyOf(orderBy: OrderKey | undefined, event: BroadcastEvent): string | undefined {
  if (orderBy === undefined) return undefined;
  return orderKeyOf(orderBy, { headers: deliveredHeaders(event), target: '/', body: event.body });
}

function headerValue(headers: RawHeaders, name: string): string {
  const values: string[] = [];
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i]!.toLowerCase() === name) values.push(headers[i + 1]!.trim());
  }
  return values.join(', ');
}

function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query < 0 ? target : target.slice(0, query);
}

function queryOf(target: string): string {
  const query = target.indexOf('?');
  return query < 0 ? '' : target.slice(query + 1);
}

/** A segment that is not well encoded is its own name. */
function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

function parsed(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body)) as unknown;
  } catch {
    return undefined;
  }
}

/** The value that a JSON pointer names; undefined where there is none. */
function at(document: unknown, pointer: string): unknown {
  let value = document;
  for (const token of pointer.split('/').slice(1)) {
    const name = token.replaceAll('~1', '/').replaceAll('~0', '~');
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
    // An array has the indexes of RFC 6901 §4 only, not its length.
    if (Array.isArray(value) && !/^(0|[1-9]\d*)$/.test(name)) return undefined;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}
