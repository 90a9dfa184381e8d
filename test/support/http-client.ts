import { type Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { fromFlat, type HeaderInput, type HeaderList, toFlat, toHeaderList, valueOf } from './header-list.ts';
import { patience } from './patience.ts';

/** One request, as an unsuspecting application would make it. */
export interface RequestOptions {
  /** Default GET. */
  readonly method?: string;
  /** Sent as they are. Host and the framing are added unless they are given. */
  readonly headers?: HeaderInput;
  /** Bytes go with a Content-Length, parts with chunked encoding. */
  readonly body?: string | Uint8Array | AsyncIterable<string | Uint8Array>;
  /** Sent after a body in parts. */
  readonly trailers?: HeaderList;
  /** A forward proxy's URL: the request goes there in absolute-form (as with HTTP_PROXY). */
  readonly proxy?: string;
  /** A listener's URL: the request goes there, while Host names the URL's authority (as with a changed base URL). */
  readonly listener?: string;
  /** The caller goes away when it is aborted. */
  readonly signal?: AbortSignal;
  /** For kept-alive connections. Default: a connection of its own. */
  readonly agent?: Agent;
  /** When a silent connection is given up, in ms, multiplied by the patience. Default 50 000. */
  readonly timeoutMs?: number;
}

/** The answer as it came. */
export interface ClientResponse {
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderList;
  readonly body: Buffer;
  readonly text: string;
  readonly trailers: HeaderList;
  /** The first value of a header, by name without case. */
  header(name: string): string | undefined;
  /** The body as JSON. */
  json(): unknown;
}

/**
 * Makes one HTTP request and resolves with the complete answer, whatever its status.
 * @throws Error when no complete answer came: refused, reset, aborted, timed out.
 */
export async function request(url: string, options: RequestOptions = {}): Promise<ClientResponse> {
  const target = new URL(url);
  const peer = new URL(options.proxy ?? options.listener ?? url);
  const limitMs = (options.timeoutMs ?? 50_000) * patience();
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = httpRequest({
    host: peer.hostname,
    port: peer.port,
    method: options.method ?? 'GET',
    path: options.proxy === undefined ? target.pathname + target.search : target.href,
    headers: toFlat(requestHeaders(target, options)),
    agent: options.agent ?? false,
    ...(options.signal && { signal: options.signal }),
  });
  outgoing.setTimeout(limitMs, () => outgoing.destroy(new Error(`no byte from ${peer.host} for ${limitMs} ms`)));
  outgoing.once('response', resolve);
  outgoing.on('error', reject);
  if (options.trailers) outgoing.addTrailers(options.trailers);
  if (isParts(options.body)) Readable.from(options.body).on('error', reject).pipe(outgoing);
  else outgoing.end(options.body);
  return complete(await promise);
}

async function complete(response: IncomingMessage): Promise<ClientResponse> {
  const body = await buffer(response);
  const headers = fromFlat(response.rawHeaders);
  const text = body.toString();
  return {
    status: response.statusCode ?? 0,
    reason: response.statusMessage ?? '',
    headers,
    body,
    text,
    trailers: fromFlat(response.rawTrailers),
    header: (name) => valueOf(headers, name),
    json: () => JSON.parse(text) as unknown,
  };
}

function requestHeaders(target: URL, { headers, body }: RequestOptions): HeaderList {
  const given = toHeaderList(headers);
  const lacks = (...names: string[]) => !given.some(([name]) => names.includes(name.toLowerCase()));
  const list: [string, string][] = lacks('host') ? [['Host', target.host], ...given] : [...given];
  if (body !== undefined && lacks('content-length', 'transfer-encoding')) {
    list.push(isParts(body) ? ['Transfer-Encoding', 'chunked'] : ['Content-Length', String(Buffer.byteLength(body))]);
  }
  return list;
}

function isParts(body: RequestOptions['body']): body is AsyncIterable<string | Uint8Array> {
  return typeof body === 'object' && Symbol.asyncIterator in body;
}
