import { parseAuthority } from './authority.ts';
import type { RequestFacts } from './headers.ts';

/** Where a request goes, read from its request line and `Host` (RFC 9112 §3.2, §3.3). */
export interface Addressed {
  readonly scheme: 'http' | 'https';
  /** For routing: lower-cased, without port; empty where the request names none (HTTP/1.0 only). */
  readonly host: string;
  readonly port: number;
  /** The authority of an absolute-form target, as written: it takes the place of `Host`. */
  readonly authority?: string;
  /** Origin form or `*`, as written. */
  readonly target: string;
  /** `target` without its query. */
  readonly path: string;
}

/** A request whose destination cannot be told; to be refused with 400. */
export interface Unaddressed {
  readonly malformed: string;
}

export interface RequestLine {
  readonly method: string;
  /** As on the wire. */
  readonly target: string;
  /** 0 or 1 of HTTP/1.x */
  readonly minorVersion: number;
}

const absolute = /^(?<scheme>[A-Za-z][A-Za-z0-9+.-]*):\/\/(?<authority>[^/?#]*)(?<rest>.*)$/s;

/**
 * Tells where a request goes. The target is never normalised.
 * @param fixed the host name of a listener that stands for one host, with `:port` where the configuration names one
 */
export function addressOf(line: RequestLine, facts: RequestFacts, fixed?: string): Addressed | Unaddressed {
  const { hosts } = facts;
  if (hosts.length > 1) return { malformed: 'the request has more than one Host header' };
  const [host] = hosts;
  if (host === undefined && line.minorVersion > 0) return { malformed: 'the request has no Host header' };

  if (line.target.includes('#')) return { malformed: 'the request target has a fragment' };
  const form = line.target.startsWith('/') || line.target === '*' ? undefined : absolute.exec(line.target)?.groups;
  if (form !== undefined) return absoluteForm(form, line, fixed);
  if (line.target === '*' ? line.method !== 'OPTIONS' : !line.target.startsWith('/')) {
    return { malformed: `the request target "${line.target}" is malformed` };
  }
  const named = host === undefined || host === '' ? undefined : parseAuthority(host);
  if (named === undefined && host !== undefined && (host !== '' || fixed === undefined)) {
    return { malformed: 'the Host header is malformed' };
  }
  const routed = fixed === undefined ? named : parseAuthority(fixed);
  return addressed('http', routed ?? { host: '' }, line.target);
}

function absoluteForm(
  form: Record<string, string>,
  line: RequestLine,
  fixed: string | undefined,
): Addressed | Unaddressed {
  const scheme = form['scheme']!.toLowerCase();
  if (scheme !== 'http' && scheme !== 'https')
    return { malformed: `the scheme ${scheme} is not one that is forwarded` };
  const authority = form['authority']!;
  const named = parseAuthority(authority);
  if (named === undefined) return { malformed: `the authority "${authority}" of the request target is malformed` };
  const rest = form['rest']!;
  // An absolute target with an empty path stands for "/", or for "*" with OPTIONS (RFC 9112 §3.2.4).
  const target = rest === '' && line.method === 'OPTIONS' ? '*' : rest.startsWith('/') ? rest : `/${rest}`;
  return { ...addressed(scheme, fixed === undefined ? named : (parseAuthority(fixed) ?? named), target), authority };
}

function addressed(
  scheme: 'http' | 'https',
  { host, port }: { host: string; port?: number },
  target: string,
): Addressed {
  const query = target.indexOf('?');
  const path = query < 0 ? target : target.slice(0, query);
  return { scheme, host, port: port ?? (scheme === 'https' ? 443 : 80), target, path };
}

/** Whether a path belongs to Holdline itself on every outbound listener. */
export function isReserved(path: string): boolean {
  return path.startsWith('/.holdline') && (path.length === 10 || path[10] === '/');
}
