import { isIPv4, isIPv6 } from 'node:net';
import type { ListenAddress } from './config.ts';
import { malformed, NotationError, quote } from './notation.ts';
import type { Notation } from './notation.ts';

/** Where a listener opens. Without a host it is every interface of the machine. */
export const listenAddress: Notation<ListenAddress> = {
  what: 'an address to listen on',
  allowed: 'host:port, such as 127.0.0.1:4000, "[::1]:4000" or 0.0.0.0:4000',
  pattern: /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]*):\d{1,5}$/,
  parse(text) {
    const [, bracketed, name, digits] = /^(?:\[([^\]]+)\]|([A-Za-z0-9.-]*)):(\d{1,5})$/.exec(text) ?? [];
    if (digits === undefined || (bracketed !== undefined && !isIPv6(bracketed))) throw malformed(text, listenAddress);
    if (name !== undefined && /^[\d.]+$/.test(name) && !isIPv4(name)) throw malformed(text, listenAddress);
    return {
      host: bracketed?.toLowerCase() ?? (name === '' ? '0.0.0.0' : name!.toLowerCase()),
      port: portOf(digits, text),
    };
  },
  format: ({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`),
};

function portOf(digits: string, text: string): number {
  const value = Number(digits);
  if (value > 65_535) throw new NotationError(`${quote(text)} names a port that does not exist; expected 0 to 65535`);
  return value;
}

/** Whether only programs of this machine can reach the address. */
export function isLoopback({ host }: ListenAddress): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'));
}

/** Whether the second of the two could not be opened. Port 0 never stands in the way of another. */
export function collide(a: ListenAddress, b: ListenAddress): boolean {
  if (a.port !== b.port || a.port === 0) return false;
  const [first, second] = [numeric(a.host), numeric(b.host)];
  // `::` takes the IPv4 port too (dual stack, Node's default); `0.0.0.0` leaves IPv6 free.
  if (first === '::' || second === '::') return true;
  if (first === '0.0.0.0') return !isIPv6(second);
  if (second === '0.0.0.0') return !isIPv6(first);
  return first === second;
}

function numeric(host: string): string {
  return host === 'localhost' ? '127.0.0.1' : host;
}

function hostNotation(what: string, allowed: string, name: string): Notation<string> {
  const expression = new RegExp(`^(\\[[0-9A-Fa-f:.]+\\]|${name})(:\\d{1,5})?$`);
  const self: Notation<string> = {
    what,
    allowed,
    pattern: expression,
    parse(text) {
      if (/^https?:\/\//i.test(text)) {
        const suggestion = text.replace(/^https?:\/\/(?:.*@)?/i, '').replace(/[/?#].*$/s, '');
        throw new NotationError(`${quote(text)} is a URL; expected only the host name: ${suggestion}`);
      }
      if (!expression.test(text)) throw malformed(text, self);
      const [, digits] = /:(\d+)$/.exec(text.replace(/^\[.*\]/, '')) ?? [];
      if (digits !== undefined) portOf(digits, text);
      return text.toLowerCase();
    },
    format: (value) => value,
  };
  return self;
}

/** A host name as callers address it, lower-cased; with a port only where one is written. */
export const hostName = hostNotation('a host name', 'a name such as payments, or payments:8080', '[A-Za-z0-9._-]+');

/** The same, or a pattern. */
export const hostPattern = hostNotation(
  'a host name or pattern',
  'a name such as payments, or a pattern such as *.internal (* one label, ** any number)',
  '[A-Za-z0-9._*-]+',
);

/** An http(s) URL that paths are appended to, so without query, fragment and trailing slash. */
export const httpUrl: Notation<string> = {
  what: 'an http(s) URL',
  allowed: 'one such as http://127.0.0.1:3000',
  pattern: /^https?:\/\/[^\s?#]+$/,
  parse(text) {
    if (!/^https?:\/\/[^\s/?#]/i.test(text) || !URL.canParse(text)) throw malformed(text, httpUrl);
    const url = new URL(text);
    if (/[?#]/.test(text)) {
      throw new NotationError(`${quote(text)} has a query or fragment; expected a URL that paths can be appended to`);
    }
    return url.href.replace(/\/+$/, '');
  },
  format: (value) => value,
};

/** Where a trace is looked at: an http(s) URL with `{traceId}` in the place of its id. */
export const traceLink: Notation<string> = {
  what: 'the URL of a trace',
  allowed: 'an http(s) URL with {traceId} in it, such as http://127.0.0.1:16686/trace/{traceId}',
  pattern: /^https?:\/\/[^\s]*\{traceId\}[^\s]*$/,
  parse(text) {
    const isUrl = /^https?:\/\/[^\s/?#{]/i.test(text) && URL.canParse(text) && !/\s/.test(text);
    if (!isUrl || !text.includes('{traceId}')) throw malformed(text, traceLink);
    return text;
  },
  format: (value) => value,
};

/**
 * Where Jaeger, whose receiver is at this URL, shows a trace, if all of it is on its usual ports. Undefined where the receiver is not
 * one of the own network, so that nobody can tell.
 */
export function jaegerTraceLink(otlp: string): string | undefined {
  const { protocol, hostname } = new URL(otlp);
  return protocol === 'http:' ? `http://${hostname}:16686/trace/{traceId}` : undefined;
}

/** Last words of names that the public DNS does not have (RFC 6761, RFC 8375, ICANN's `internal`, what clusters use). */
const privateNames = /(^|\.)(local|localhost|internal|intranet|lan|private|corp|home\.arpa|svc|test|invalid|example)$/;

/**
 * Whether an http(s) URL is an endpoint of somebody else, as far as its text tells: it is https, or its host is a name that the
 * public DNS could know. Plain http to an address or to a name of the own network is the local service.
 */
export function isOutside(url: string): boolean {
  const { protocol, hostname } = new URL(url);
  if (protocol === 'https:') return true;
  if (hostname.startsWith('[') || isIPv4(hostname)) return false;
  const name = hostname.replace(/\.$/, '');
  return name.includes('.') && !privateNames.test(name);
}
