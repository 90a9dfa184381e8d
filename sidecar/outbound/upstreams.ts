import type { Addressed } from '../http/target.ts';

/** Where passed-through traffic really goes. */
export interface Upstream {
  readonly protocol: 'http:' | 'https:';
  /** An IPv6 address in brackets. */
  readonly hostname: string;
  readonly port: number;
  /** Comes before the path of each request; without a slash at its end. */
  readonly basePath: string;
}

/** The configured `hosts`, and for any other host the authority that the caller addressed. */
export class Upstreams {
  readonly #hosts: ReadonlyMap<string, Upstream>;

  /** @param hosts lower-cased host name, with `:port` where the configuration names one → http(s) URL */
  constructor(hosts: Readonly<Record<string, string>>) {
    this.#hosts = new Map(Object.entries(hosts).map(([host, url]) => [host, fromUrl(url)]));
  }

  /** @returns undefined where the request names no host */
  of({ scheme, host, port }: Pick<Addressed, 'scheme' | 'host' | 'port'>): Upstream | undefined {
    if (host === '') return undefined;
    return this.configured(host, port) ?? { protocol: `${scheme}:`, hostname: host, port, basePath: '' };
  }

  /** Where `hosts` sends this host; undefined where it says nothing of it. */
  configured(host: string, port: number): Upstream | undefined {
    return this.#hosts.get(`${host}:${port}`) ?? this.#hosts.get(host);
  }
}

function fromUrl(text: string): Upstream {
  const { protocol, hostname, port, pathname } = new URL(text);
  const isHttps = protocol === 'https:';
  return {
    protocol: isHttps ? 'https:' : 'http:',
    hostname,
    port: port === '' ? (isHttps ? 443 : 80) : Number(port),
    basePath: pathname.replace(/\/+$/, ''),
  };
}

/** Proxy error types (RFC 9209 §2.3) by what the system says. */
const errorTypes: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection_refused',
  ECONNRESET: 'connection_terminated',
  EPIPE: 'connection_terminated',
  ETIMEDOUT: 'connection_timeout',
  ENOTFOUND: 'dns_error',
  EAI_AGAIN: 'dns_error',
  EHOSTUNREACH: 'destination_ip_unroutable',
  ENETUNREACH: 'destination_ip_unroutable',
};

/** The proxy error type of a failed connection, and what to tell people. */
export function unreachable(upstream: Upstream, error: Error): { readonly error: string; readonly detail: string } {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const isTls = /^(?:ERR_TLS|ERR_SSL|CERT_|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO|EPROTO)/.test(code);
  const isProtocol = code.startsWith('HPE_');
  const type = isTls ? 'tls_protocol_error' : isProtocol ? 'http_protocol_error' : errorTypes[code];
  const where = `${upstream.hostname}:${upstream.port}`;
  return { error: type ?? 'destination_unavailable', detail: `${where} cannot be reached: ${error.message || code}.` };
}
