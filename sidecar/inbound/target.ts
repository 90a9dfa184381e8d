import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import type { InboundConfig } from '../config/config.ts';

/** Where the calls of a service go, read from its configuration. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** The authority of the url, for requests that carry no `Host` of their own. */
  readonly authority: string;
  /** Path of the url without a trailing slash: stands before the target of each call. */
  readonly prefix: string;
  /** Present for https. */
  readonly tls?: ConnectionOptions;
  /** Only public addresses are connected to. */
  readonly publicOnly?: boolean;
}

/**
 * Reads the url and the TLS files.
 * @throws Error for a file that cannot be read
 */
export function targetOf(config: Pick<InboundConfig, 'url' | 'tls'> & { readonly publicOnly?: boolean }): Target {
  const url = new URL(config.url);
  const secure = url.protocol === 'https:';
  const host = url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
  const target = {
    host,
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    authority: url.host,
    prefix: url.pathname.replace(/\/$/, ''),
    ...(config.publicOnly === true && { publicOnly: true }),
  };
  return secure ? { ...target, tls: tlsOf(config.tls ?? {}, host) } : target;
}

function tlsOf(files: NonNullable<InboundConfig['tls']>, host: string): ConnectionOptions {
  const { ca, cert, key, servername } = files;
  // An address is not a name to be asked for (RFC 6066 §3); the certificate is then checked against the address.
  const name = servername ?? (isIP(host) === 0 ? host : undefined);
  return {
    ALPNProtocols: ['http/1.1'],
    ...(name !== undefined && { servername: name }),
    ...(ca !== undefined && { ca: readFileSync(ca) }),
    ...(cert !== undefined && { cert: readFileSync(cert) }),
    ...(key !== undefined && { key: readFileSync(key) }),
  };
}
