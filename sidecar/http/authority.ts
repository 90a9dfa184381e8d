/** A host and port as a request names them (RFC 3986 §3.2, without user information). */
export interface Authority {
  /** Lower-cased; an IPv6 address in brackets. */
  readonly host: string;
  /** Absent where none is written. */
  readonly port?: number;
}

const known = new Map<string, Authority | undefined>();
const knownLimit = 1000;

/**
 * Reads a `Host` value or an authority.
 * @returns undefined when it is malformed or empty
 */
export function parseAuthority(text: string): Authority | undefined {
  if (known.has(text)) return known.get(text);
  const parsed = parse(text);
  // Callers address a handful of hosts; whoever sends ever new ones must not fill the memory.
  if (known.size >= knownLimit) known.clear();
  known.set(text, parsed);
  return parsed;
}

const form = /^(?<host>\[[0-9A-Fa-f:.]+\]|(?:[A-Za-z0-9\-._~!$&'()*+,;=]|%[0-9A-Fa-f]{2})+)(?::(?<port>\d{0,5}))?$/;

function parse(text: string): Authority | undefined {
  const groups = form.exec(text)?.groups;
  if (groups === undefined || groups['host'] === undefined) return undefined;
  const host = groups['host'].toLowerCase();
  const digits = groups['port'];
  if (digits === undefined || digits === '') return { host };
  const port = Number(digits);
  return port > 65_535 ? undefined : { host, port };
}
