import type { RawResponse } from '../../support/raw-http.ts';
import { nameOf, type Message } from './message.ts';
import type { Way } from './rig.ts';

/** What an application can see of a request or an answer. Two that are equal here are the same to it. */
export interface Visible {
  /** Request line or status line, without the version where that is allowed to differ. */
  readonly line: string;
  /** The end-to-end fields, each line as it is. */
  readonly fields: readonly string[];
  readonly body: string;
  readonly trailers: readonly string[];
  /** An empty body is another thing than none. */
  readonly hasBody: boolean;
}

/** Fields of one connection. `sidecar/docs/fidelity.md` is about all that is left out in this file. */
const hopByHop = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade'];
const ofRequests = new Set([...hopByHop, 'proxy-authorization', 'expect']);
const ofAnswers = new Set([...hopByHop, 'proxy-authenticate']);

function namesOf(fields: readonly string[]): Set<string> {
  return new Set(fields.map(nameOf));
}

/** Names that the `Connection` fields list; without these two a message would lose what it is about. */
function listed(fields: readonly string[]): string[] {
  const values = fields
    .filter((field) => nameOf(field) === 'connection')
    .map((field) => field.slice('connection:'.length));
  const names = values.flatMap((value) => value.split(',')).map((name) => name.trim().toLowerCase());
  return names.filter((name) => name !== 'host' && name !== 'content-length');
}

/** The fields that are to arrive: not those of the connection, nor what only Holdline may say. */
function endToEnd(fields: readonly string[], own: ReadonlySet<string>): string[] {
  const gone = listed(fields);
  return fields.filter((field) => {
    const name = nameOf(field);
    return !own.has(name) && !name.startsWith('holdline-') && !gone.includes(name);
  });
}

/** Space around a value is no part of it (RFC 9112 §5.1), and one space is what is written. */
function tidy(field: string): string {
  const colon = field.indexOf(':');
  return `${field.slice(0, colon)}: ${field.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, '')}`;
}

function requestLine(line: string): string {
  return line.replace(/ HTTP\/1\.[01]$/, '');
}

/** What the callee sees of a request that was sent like this. */
export function expectedRequest({ line, fields, body, trailers, framing }: Message): Visible {
  return {
    line: requestLine(line),
    fields: endToEnd(fields, ofRequests).map(tidy),
    body,
    trailers: trailers.map(tidy),
    hasBody: framing !== 'none',
  };
}

/** What the callee saw, and what was added to what the caller `sent`. */
export function arrivedRequest(arrived: Message, sent: Message): Visible & { readonly added: readonly string[] } {
  const known = namesOf(endToEnd(sent.fields, ofRequests));
  const isAdded = (field: string) => !known.has(nameOf(field));
  const { line, fields, body, trailers, framing } = arrived;
  return {
    line: requestLine(line),
    fields: fields.filter((field) => !isAdded(field)),
    body,
    trailers,
    hasBody: framing !== 'none',
    added: fields.filter(isAdded).map((field) => field.slice(0, field.indexOf(':'))),
  };
}

/** What a request gets besides its own fields, in this order. */
export function additions(way: Way, sent: Message): string[] {
  const names = namesOf(endToEnd(sent.fields, ofRequests));
  const framing = sent.framing !== 'chunks' ? [] : isStored(way, sent) ? ['Content-Length'] : ['Transfer-Encoding'];
  const host = names.has('host') ? [] : ['Host'];
  if (way === 'passthrough') return [...host, ...framing, 'Connection'];
  const call = ['Idempotency-Key', 'Holdline-Call-Id', 'Holdline-Attempt', 'Holdline-Caller', 'traceparent'];
  return [...host, ...framing, ...call.filter((name) => !names.has(name.toLowerCase())), 'Connection'];
}

/** A stored body has a length, unless trailers follow it. */
function isStored(way: Way, { trailers }: Message): boolean {
  return way !== 'passthrough' && trailers.length === 0;
}

/** What the caller saw of an answer. */
export function visibleAnswer({ bytes, body, trailers }: RawResponse): Visible {
  const head = bytes.toString('latin1', 0, bytes.indexOf('\r\n\r\n'));
  const [line = '', ...fields] = head.split('\r\n');
  return {
    // No answer of HTTP/1.0 is told to who speaks HTTP/1.1, and the space after a status is there without a reason, too.
    line: line.replace(/^HTTP\/1\.[01] /, '').replace(/^\d{3}$/, '$& '),
    fields: endToEnd(fields, ofAnswers).map(tidy),
    body: body.toString('latin1'),
    trailers: trailers.map(([name, value]) => `${name}: ${value}`),
    hasBody: body.length > 0,
  };
}

/** The fields that an answer got besides those of the callee, without those of the connection. */
export function addedToAnswer(answer: RawResponse, direct: RawResponse): string[] {
  const known = new Set(direct.headers.map(([name]) => name).filter((name) => !/^holdline-/i.test(name)));
  const names = answer.headers.map(([name]) => name);
  return names.filter((name) => !known.has(name) && !ofAnswers.has(name.toLowerCase()));
}
