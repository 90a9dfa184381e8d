import type { RawHeaders } from '../model/call.ts';

/** What Holdline reads of a request's header, gathered in one pass over the raw fields. */
export interface RequestFacts {
  /** Values of all `Host` fields. */
  readonly hosts: string[];
  contentLength: number | undefined;
  /** All `Transfer-Encoding` values, comma-joined, lower-cased. */
  transferEncoding: string | undefined;
  /** Lower-cased names that `Connection` fields list. */
  readonly connection: string[];
  contentType: string;
  readonly prefer: string[];
  readonly idempotencyKeys: string[];
  readonly traceparent: string[];
  readonly tracestate: string[];
  hops: string | undefined;
  /** The call of which this request seems to be an attempt. */
  callId: string | undefined;
  /** Some fields are for this connection or for Holdline, and must not go on. */
  hasOwnFields: boolean;
}

/** Reads a request's raw header fields (name, value, name, value, …). */
export function readRequestFacts(raw: RawHeaders): RequestFacts {
  const facts: RequestFacts = {
    hosts: [],
    contentLength: undefined,
    transferEncoding: undefined,
    connection: [],
    contentType: '',
    prefer: [],
    idempotencyKeys: [],
    traceparent: [],
    tracestate: [],
    hops: undefined,
    callId: undefined,
    hasOwnFields: false,
  };
  for (let at = 0; at < raw.length; at += 2) {
    const value = raw[at + 1]!;
    const name = raw[at]!.toLowerCase();
    switch (name) {
      case 'host':
        facts.hosts.push(value);
        break;
      case 'content-length':
        facts.contentLength = Number(value);
        break;
      case 'transfer-encoding': {
        const codings = value.toLowerCase();
        facts.transferEncoding =
          facts.transferEncoding === undefined ? codings : `${facts.transferEncoding}, ${codings}`;
        break;
      }
      case 'connection':
        facts.connection.push(...namesIn(value));
        break;
      case 'content-type':
        facts.contentType = value;
        break;
      case 'prefer':
        facts.prefer.push(value);
        break;
      case 'idempotency-key':
        facts.idempotencyKeys.push(value);
        break;
      case 'traceparent':
        facts.traceparent.push(value);
        break;
      case 'tracestate':
        facts.tracestate.push(value);
        break;
      case 'holdline-hops':
        facts.hops = value;
        break;
      case 'holdline-call-id':
        facts.callId = value;
        break;
    }
    if (!facts.hasOwnFields && (ownRequestFields.has(name) || name.startsWith('holdline-'))) facts.hasOwnFields = true;
  }
  return facts;
}

/** Fields of one connection (RFC 9110 §7.6.1 and the older ones still in use). `Trailer` is none: it speaks of the content. */
const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'];
const ownRequestFields: ReadonlySet<string> = new Set([...hopByHop, 'proxy-authorization', 'expect']);
const ownUpgradeFields: ReadonlySet<string> = new Set(
  [...ownRequestFields].filter((name) => name !== 'connection' && name !== 'upgrade'),
);
const ownAnswerFields: ReadonlySet<string> = new Set([...hopByHop, 'proxy-authenticate']);

/** A `Connection` field that lists these would make a message lose what it is about; nobody means that. */
const neverListed: ReadonlySet<string> = new Set(['host', 'content-length']);

/**
 * The end-to-end fields of a request, in their order, case and number. What goes: hop-by-hop fields, those that
 * `Connection` lists, `Proxy-Authorization`, `Expect`, and every `Holdline-*`.
 *
 * @param authority where the request line named one (absolute-form), it takes the place of `Host` (RFC 9112 §3.2.2)
 */
export function endToEndRequest(raw: RawHeaders, facts: RequestFacts, authority?: string): RawHeaders {
  if (!facts.hasOwnFields && authority === undefined) return raw;
  return addressedTo(endToEnd(raw, ownRequestFields, facts.connection), authority);
}

function addressedTo(kept: string[], authority: string | undefined): string[] {
  if (authority === undefined) return kept;
  const at = kept.findIndex((text, index) => index % 2 === 0 && text.toLowerCase() === 'host');
  if (at < 0) return ['Host', authority, ...kept];
  kept[at + 1] = authority;
  return kept;
}

/** The fields of a request that asks for another protocol: as {@link endToEndRequest}, with `Connection` and `Upgrade` kept. */
export function upgradeRequest(raw: RawHeaders, facts: RequestFacts, authority?: string): RawHeaders {
  const listed = facts.connection.filter((name) => name !== 'upgrade');
  return addressedTo(endToEnd(raw, ownUpgradeFields, listed), authority);
}

/** The end-to-end fields of an answer: without hop-by-hop fields, those that `Connection` lists, and every `Holdline-*`. */
export function endToEndAnswer(raw: RawHeaders): string[] {
  return endToEnd(raw, ownAnswerFields, listedBy(raw));
}

/** The first value of a field; `name` in lower case. */
export function fieldValue(raw: RawHeaders, name: string): string | undefined {
  for (let at = 0; at < raw.length; at += 2) {
    if (raw[at]!.length === name.length && raw[at]!.toLowerCase() === name) return raw[at + 1];
  }
  return undefined;
}

/** The value of a field that a message has once, or null where it has several; `name` in lower case. */
export function soleValue(raw: RawHeaders, name: string): string | null | undefined {
  let value: string | null | undefined;
  for (let at = 0; at < raw.length; at += 2) {
    if (raw[at]!.length === name.length && raw[at]!.toLowerCase() === name)
      value = value === undefined ? raw[at + 1] : null;
  }
  return value;
}

/** All fields but those with this name; `name` in lower case. */
export function withoutField(raw: RawHeaders, name: string): string[] {
  const kept: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    if (raw[at]!.toLowerCase() !== name) kept.push(raw[at]!, raw[at + 1]!);
  }
  return kept;
}

function endToEnd(raw: RawHeaders, own: ReadonlySet<string>, listed: readonly string[]): string[] {
  const kept: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase();
    if (own.has(name) || name.startsWith('holdline-')) continue;
    if (listed.length > 0 && listed.includes(name) && !neverListed.has(name)) continue;
    kept.push(raw[at]!, raw[at + 1]!);
  }
  return kept;
}

function listedBy(raw: RawHeaders): string[] {
  const listed: string[] = [];
  for (let at = 0; at < raw.length; at += 2) {
    if (raw[at]!.length === 10 && raw[at]!.toLowerCase() === 'connection') listed.push(...namesIn(raw[at + 1]!));
  }
  return listed;
}

function namesIn(value: string): string[] {
  return value
    .toLowerCase()
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}
