import { resolve } from 'node:path';
import * as z from 'zod';
import type { BrokerConfig, TlsFiles } from './config.ts';
import { key, mapping, name, unfit, wholeNumber, written } from './key.ts';
import { malformed, NotationError, quote } from './notation.ts';
import type { Notation } from './notation.ts';
import { duration } from './units.ts';

type BrokerAddress = { kind: 'nats'; servers: string[] } | { kind: 'sqlite'; file: string };

/** Where the broker is; the path of a SQLite file is still as written. */
const brokerUrl: Notation<BrokerAddress> = {
  what: 'a broker',
  allowed: 'nats://host:4222 (several with commas, tls:// for TLS) or sqlite:./file.db',
  pattern: /^((nats|tls):\/\/[^\s,]+(,((nats|tls):\/\/)?[^\s,]+)*|sqlite:.+)$/,
  parse(text) {
    if (text.startsWith('sqlite:')) return { kind: 'sqlite', file: sqliteFile(text) };
    if (/^[A-Za-z0-9.-]+:\d+$/.test(text)) {
      throw new NotationError(`${quote(text)} says no kind of broker; did you mean nats://${text}?`);
    }
    const scheme = /^(nats|tls):\/\//.exec(text)?.[0];
    if (scheme === undefined) throw malformed(text, brokerUrl);
    return { kind: 'nats', servers: text.split(',').map((part) => natsServer(part.trim(), scheme, text)) };
  },
  format: (value) => (value.kind === 'sqlite' ? `sqlite:${value.file}` : value.servers.join(',')),
};

function natsServer(part: string, scheme: string, text: string): string {
  const url = part.includes('://') ? part : scheme + part;
  if (!/^(nats|tls):\/\/[^\s/]/.test(url) || !URL.canParse(url)) throw malformed(text, brokerUrl);
  const { username, password, hostname, port, protocol } = new URL(url);
  if (hostname === '') throw malformed(text, brokerUrl);
  const user = username === '' ? '' : `${username}${password === '' ? '' : `:${password}`}@`;
  return `${protocol}//${user}${hostname}:${port === '' ? '4222' : port}`;
}

function sqliteFile(text: string): string {
  // sqlite:file, sqlite:/file and, as other programs write it, sqlite:///file.
  const file = text.slice('sqlite:'.length).replace(/^\/\/(?=\/)/, '');
  if (file === ':memory:') {
    throw new NotationError(`${quote(text)} would forget every call; expected a file, such as sqlite:./holdline.db`);
  }
  if (file === '' || file.startsWith('//') || file.endsWith('/')) throw malformed(text, brokerUrl);
  return file;
}

const filePath = (what: string) => name(what, /^[^\0]+$/, 'the path of a file');

export const tlsKeys = {
  ca: key(
    filePath('a certificate file').exactOptional(),
    'PEM file with the authorities that may have signed the server’s certificate.',
    'the authorities that Node trusts',
  ),
  cert: key(filePath('a certificate file').exactOptional(), 'PEM file with the client certificate; comes with `key`.'),
  key: key(filePath('a key file').exactOptional(), 'PEM file with the private key of `cert`.'),
};

const retentionKeys = mapping({
  responses: key(
    written(duration).prefault('1h'),
    'How long the answers of calls without a key are kept for callers that come back with GET.',
    'a caller that lost its connection is back within minutes; at 300 calls a second an hour is a million answers',
  ),
  keyed: key(
    written(duration).prefault('24h'),
    'How long the answers of calls with a key are kept: so long the same key is served the same answer.',
    'what payment providers promise for idempotency keys',
  ),
  broadcasts: key(
    written(duration).prefault('7d'),
    'How long broadcast events are kept, for subscriptions that are down or not yet made.',
    'a subscriber that broke on Friday evening can be mended on Monday',
  ),
  deadLetters: key(
    written(duration).prefault('30d'),
    'How long dead letters are kept for replay.',
    'longer than a holiday of whoever looks after them',
  ),
});

const namespaceName = name(
  'a namespace',
  /^[A-Za-z][A-Za-z0-9_-]{0,31}$/,
  'a letter, then up to 31 letters, digits, _ or -',
);

const brokerMapping = mapping({
  url: key(
    written(brokerUrl),
    'Where the broker is: `nats://host:4222` (several with commas; `tls://` for TLS), or `sqlite:./file.db`. ' +
      'User and password are written in the URL.',
  ),
  credentials: key(
    filePath('a credentials file').exactOptional(),
    'NATS credentials file (JWT and seed). NATS only.',
    'none are sent',
  ),
  tls: key(
    mapping(tlsKeys).exactOptional(),
    'Certificates for the connection to NATS. NATS only.',
    'what the URL and the server ask for, with the authorities that Node trusts',
  ),
  namespace: key(
    namespaceName.prefault('holdline'),
    'First part of every subject, stream and table name, so that several installations can share one broker.',
    'one broker usually serves one installation',
  ),
  replicas: key(
    wholeNumber(1, 5).default(1),
    'Copies of each stream in a NATS cluster; 3 survives the loss of a node. NATS only.',
    'a single server refuses more than 1; set 3 in a cluster',
  ),
  retention: key(retentionKeys.prefault({}), 'How long finished things are kept.'),
});

export const brokerSchema = z.union([written(brokerUrl), brokerMapping], {
  error: ({ input }) => unfit(input, `a broker: ${brokerUrl.allowed}, or a mapping with url`),
});

/**
 * The broker as written in the file, or given by `--broker URL`.
 * @param folder where relative paths start
 */
export function resolveBroker(parsed: z.output<typeof brokerSchema>, folder: string): BrokerConfig {
  const options = 'url' in parsed ? parsed : brokerMapping.parse({ url: brokerUrl.format(parsed) });
  const { namespace, retention } = options;
  if (options.url.kind === 'sqlite') {
    return { kind: 'sqlite', file: resolve(folder, options.url.file), namespace, retention };
  }
  return {
    kind: 'nats',
    servers: options.url.servers,
    ...(options.credentials !== undefined && { credentials: resolve(folder, options.credentials) }),
    ...(options.tls !== undefined && { tls: resolveTls(options.tls, folder) }),
    namespace,
    replicas: options.replicas,
    retention,
  };
}

/**
 * The broker at `url` with every option at its default, for commands that get `--broker URL`.
 * @param folder where the relative path of a SQLite file starts
 * @throws {NotationError} that says what is wrong with the URL and what is allowed
 */
export function brokerFromUrl(url: string, folder: string): BrokerConfig {
  return resolveBroker(brokerUrl.parse(url), folder);
}

/** The same files with absolute paths. */
export function resolveTls(tls: TlsFiles, folder: string): TlsFiles {
  return {
    ...(tls.ca !== undefined && { ca: resolve(folder, tls.ca) }),
    ...(tls.cert !== undefined && { cert: resolve(folder, tls.cert) }),
    ...(tls.key !== undefined && { key: resolve(folder, tls.key) }),
  };
}
