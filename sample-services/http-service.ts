import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A refusal that the client is told about: the status and a plain sentence. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'Refusal';
    this.status = status;
  }
}

const MAX_JSON_BYTES = 1024 * 1024;
const STOP_GRACE_MS = 5_000;

/**
 * Reads a request body as one JSON object.
 * @throws Refusal 400 when it is not a JSON object, 413 when it is over 1 MiB.
 */
export async function readJson(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_JSON_BYTES) throw new Refusal(413, 'the body is over 1 MiB');
    chunks.push(chunk);
  }
  let value: unknown;
  try {
    value = JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch (cause) {
    throw new Refusal(400, `the body is not JSON: ${(cause as Error).message}`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal(400, 'the body is not a JSON object');
  }
  return value as Record<string, unknown>;
}

/** Answers with a JSON body. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': body.length });
  response.end(body);
}

/** One handler per `METHOD /path`; `{id}` stands for one path segment and arrives in `parameters`. */
export type Routes = Record<
  string,
  (request: IncomingMessage, response: ServerResponse, parameters: Record<string, string>) => void | Promise<void>
>;

/** A listener that picks the handler, and answers what a handler throws: a `Refusal` as such, anything else as 500. */
export function router(routes: Routes): RequestListener {
  const table = Object.entries(routes).map(([key, handler]) => {
    const [method, path] = key.split(' ') as [string, string];
    const pattern = new RegExp(`^${path.replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')}$`);
    return { method, pattern, handler };
  });
  return (request, response) => {
    const path = (request.url ?? '/').split('?', 1)[0]!;
    const here = table.filter((route) => route.pattern.test(path));
    const route = here.find((candidate) => candidate.method === request.method);
    if (route === undefined) {
      sendJson(response, here.length > 0 ? 405 : 404, { error: `no ${request.method} ${path} here` });
      return;
    }
    const parameters = { ...route.pattern.exec(path)?.groups };
    Promise.resolve()
      .then(() => route.handler(request, response, parameters))
      .catch((error: unknown) => {
        if (!(error instanceof Refusal)) console.error(error);
        if (response.headersSent) response.destroy();
        else if (error instanceof Refusal) sendJson(response, error.status, { error: error.message });
        else sendJson(response, 500, { error: 'internal error' });
      });
  };
}

/**
 * Listens on `HOST` (127.0.0.1) and `PORT` (0 takes a free one), says so in one line on stdout,
 * and prints a line per request (health checks aside). SIGTERM and SIGINT let running requests finish for up to 5 s.
 */
export function serve(name: string, defaultPort: number, listener: RequestListener): Server {
  const server = createServer(listener);
  server.on('request', (request, response) => {
    if (request.url === '/healthz') return;
    response.once('close', () => {
      const outcome = response.writableFinished ? response.statusCode : 'connection lost';
      console.log(`${name}: ${request.method} ${request.url} ${outcome}`);
    });
  });
  server.once('error', (error) => {
    console.error(`${name}: ${error.message}`);
    process.exitCode = 1;
  });
  server.listen(Number(process.env['PORT'] ?? defaultPort), process.env['HOST'] ?? '127.0.0.1', () => {
    const { address, port } = server.address() as AddressInfo;
    console.log(`${name}: listening on http://${address}:${port}`);
  });
  const stop = (): void => {
    const impatience = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS);
    server.close(() => clearTimeout(impatience));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
  return server;
}
