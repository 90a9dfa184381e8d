import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AdminConfig, ListenAddress } from '../config/config.ts';
import type { OperatorLog } from '../broker/port.ts';
import { refuse, refuseAction } from './access.ts';
import { Api } from './api.ts';
import type { Health } from './health.ts';
import { isPage, pageFile } from './page.ts';
import { refusal as problem, type Reply } from './reply.ts';

/** The admin listener. */
export interface Admin {
  /** @throws Error that names the address when it cannot be opened */
  open(): Promise<void>;
  /** Applies another listen address or token; the old address stays when the new one cannot be opened. @throws Error */
  reconfigure(config: AdminConfig): Promise<void>;
  /** Where it listens, `host:port`; undefined while it does not. */
  address(): string | undefined;
  /** Answers what is under way and closes. */
  close(): Promise<void>;
}

/** What the admin listener shows. */
export interface Shown {
  /** What `/ready` says; must not hang and must not reject. */
  health(): Promise<Health>;
  /** What `/metrics` says; must not hang. */
  metrics(): Promise<{ readonly text: string; readonly type: string }>;
  /** What is below `/api/`; undefined while there is no broker yet. */
  operator(): OperatorLog | undefined;
  /** Where traces are looked at, with `{traceId}` in the place of the id. */
  traceLink(): string | undefined;
}

export function createAdmin(config: AdminConfig, shown: Shown): Admin {
  let current = config;
  let server: Server | undefined;
  const api = new Api(
    () => shown.operator(),
    () => shown.traceLink(),
  );

  const pages: Readonly<Record<string, () => Promise<Reply>>> = {
    '/live': async () => ({ status: 200, body: { live: true } }),
    '/ready': async () => {
      const body = await shown.health();
      return { status: body.ready ? 200 : 503, body };
    },
    '/metrics': async () => {
      const { text, type } = await shown.metrics();
      return { status: 200, body: text, type };
    },
  };

  const answer = async (request: IncomingMessage): Promise<Reply> => {
    const [path = '/', query = ''] = (request.url ?? '/').split(/\?(.*)/s);
    const isApi = path.startsWith('/api/');
    const { host, authorization } = request.headers;
    const refusal = refuse({ path, host, authorization }, current.token);
    if (refusal !== undefined) {
      const { status, error } = refusal;
      const reply = isApi ? problem(status, error) : { status, body: { error } };
      return { ...reply, ...(status === 401 && { headers: { 'www-authenticate': 'Bearer' } }) };
    }
    if (isApi) return await apiAnswer(request, path, query);
    const page = Object.hasOwn(pages, path) ? pages[path] : isPage(path) ? () => pageFile(path) : undefined;
    if (page === undefined) return { status: 404, body: { error: `there is no ${path} here` } };
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return { status: 405, body: { error: `${path} is read with GET` }, headers: { allow: 'GET, HEAD' } };
    }
    return page();
  };

  const apiAnswer = async (request: IncomingMessage, path: string, query: string): Promise<Reply> => {
    const { method = 'GET', headers } = request;
    if (method !== 'GET' && method !== 'HEAD') {
      const { host, origin, 'content-type': contentType, 'sec-fetch-site': site } = headers;
      const refused = refuseAction({ host, origin, contentType, site: Array.isArray(site) ? site[0] : site });
      if (refused !== undefined) return problem(refused.status, refused.error);
    }
    return await api.answer({ method, path: path.slice('/api/'.length), query: new URLSearchParams(query) });
  };

  const handle = (request: IncomingMessage, response: ServerResponse) => {
    // Nothing is read from a request: what comes anyway is let go.
    request.resume();
    answer(request).then(
      (reply) => send(response, reply),
      (error: unknown) => send(response, { status: 500, body: { error: String(error) } }),
    );
  };

  return {
    async open() {
      server = await listen(current.listen, handle);
    },
    async reconfigure(next) {
      const { host, port } = current.listen;
      const moves = next.listen.host !== host || next.listen.port !== port;
      const old = server;
      if (moves) server = await listen(next.listen, handle);
      current = next;
      if (moves && old !== undefined) await close(old);
    },
    address() {
      const address = server?.address() as AddressInfo | null | undefined;
      if (!address) return undefined;
      return address.family === 'IPv6' ? `[${address.address}]:${address.port}` : `${address.address}:${address.port}`;
    },
    async close() {
      const old = server;
      server = undefined;
      if (old !== undefined) await close(old);
    },
  };
}

function send(response: ServerResponse, { status, body, type, headers }: Reply): void {
  const text = type === undefined ? `${JSON.stringify(body, undefined, 2)}\n` : String(body);
  response.writeHead(status, {
    ...headers,
    'content-type': type ?? 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(text);
}

async function listen(
  { host, port }: ListenAddress,
  handle: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<Server> {
  const server = createServer(handle);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  server.listen({ host, port }, resolve);
  try {
    await promise;
  } catch (cause) {
    const shown = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
    throw new Error(`admin.listen: cannot listen on ${shown}: ${explain(cause)}`, { cause });
  }
  return server;
}

function explain(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'EADDRINUSE') return 'the port is already taken (EADDRINUSE)';
  if (code === 'EACCES') return 'not allowed to (EACCES)';
  if (code === 'EADDRNOTAVAIL') return 'the address does not belong to this machine (EADDRNOTAVAIL)';
  return message;
}

async function close(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeIdleConnections();
  // A probe that reads slowly must not keep a sidecar from stopping.
  const limit = setTimeout(() => server.closeAllConnections(), 1000);
  await promise;
  clearTimeout(limit);
}
