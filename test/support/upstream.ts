import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { buffer } from 'node:stream/consumers';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { fromFlat, type HeaderInput, type HeaderList, toFlat, toHeaderList, valueOf } from './header-list.ts';
import { claim, release } from './leaks.ts';

/** A request as the callee received it, complete with body and trailers. */
export interface ReceivedRequest {
  readonly method: string;
  /** The request target, untouched. */
  readonly target: string;
  readonly headers: HeaderList;
  readonly body: Buffer;
  readonly trailers: HeaderList;
  /** When it was complete, in ms since the epoch. */
  readonly at: number;
  /** The first value of a header, by name without case. */
  header(name: string): string | undefined;
}

/** An ordinary answer. Only what is given here is sent, besides the framing. */
export interface HttpAnswer {
  /** Default 200. */
  readonly status?: number;
  readonly reason?: string;
  readonly headers?: HeaderInput;
  /** Bytes go with a Content-Length, parts with chunked encoding. */
  readonly body?: string | Uint8Array | AsyncIterable<string | Uint8Array>;
  /** With trailers the body goes with chunked encoding. */
  readonly trailers?: HeaderList;
}

/** What the callee does with a request: answer, send bytes as they are, reset or close the connection. */
export type Answer = HttpAnswer | { readonly raw: string | Uint8Array } | 'reset' | 'close';

/** Decides on the answer; while its promise is open the answer is held. */
export type Handler = (request: ReceivedRequest) => Answer | Promise<Answer>;

/** A scriptable callee: a real HTTP server that a test can stop, start again on the same port, and make misbehave. */
export class Upstream implements AsyncDisposable {
  readonly port: number;
  /** Every complete request, in order of arrival. */
  readonly requests: ReceivedRequest[] = [];
  /** What the HTTP parser refused, and what went wrong in a handler. */
  readonly failures: Error[] = [];
  readonly #script: Handler[] = [];
  #handler: Handler;
  #server: Server | undefined;

  private constructor(port: number, handler: Handler) {
    this.port = port;
    this.#handler = handler;
  }

  /** As {@link startUpstream}. */
  static async start(handler: Answer | Handler): Promise<Upstream> {
    const upstream = new Upstream(await freePort(), toHandler(handler));
    await upstream.up();
    return upstream;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Answers from now on like this, once the script is played. */
  always(answer: Answer | Handler): void {
    this.#handler = toHandler(answer);
  }

  /** Adds to the script: each of these answers one request, in this order. */
  next(...answers: readonly (Answer | Handler)[]): void {
    this.#script.push(...answers.map(toHandler));
  }

  /** Resolves with the requests when at least `count` have been received. */
  async received(count: number, timeoutMs?: number): Promise<readonly ReceivedRequest[]> {
    return eventually(
      () => {
        if (this.requests.length < count) throw new Error(`${this.requests.length} received`);
        return this.requests;
      },
      { what: `${count} requests at the upstream`, ...(timeoutMs !== undefined && { timeoutMs }) },
    );
  }

  /** Goes away: connections are reset, new ones refused. Nothing while it is down. */
  async down(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
    release(server);
  }

  /** Comes back on the same port. Nothing while it is up. */
  async up(): Promise<void> {
    if (this.#server) return;
    // Two hosts or none are for the sidecar to refuse; here they must be seen.
    const server = createServer({ requireHostHeader: false }, (request, response) => {
      this.#serve(request, response).catch((error: unknown) => {
        // A caller that went away in the middle is part of many tests; its request is not recorded.
        this.failures.push(error instanceof Error ? error : new Error(String(error)));
        response.destroy();
      });
    });
    server.on('clientError', (error, socket) => {
      this.failures.push(error);
      socket.destroy();
    });
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
    claim(server, {
      what: `upstream on port ${this.port}`,
      destroy() {
        server.close();
        server.closeAllConnections();
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  async #serve(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await buffer(incoming);
    const headers = fromFlat(incoming.rawHeaders);
    const request: ReceivedRequest = {
      method: incoming.method ?? '',
      target: incoming.url ?? '',
      headers,
      body,
      trailers: fromFlat(incoming.rawTrailers),
      at: Date.now(),
      header: (name) => valueOf(headers, name),
    };
    this.requests.push(request);
    const handler = this.#script.shift() ?? this.#handler;
    await send(await handler(request), response);
  }
}

/** Starts a callee that answers like this; without an argument with an empty 200. */
export async function startUpstream(answer: Answer | Handler = {}): Promise<Upstream> {
  return Upstream.start(answer);
}

function toHandler(answer: Answer | Handler): Handler {
  return typeof answer === 'function' ? answer : () => answer;
}

async function send(answer: Answer, response: ServerResponse): Promise<void> {
  const { socket } = response;
  if (answer === 'reset') {
    socket?.resetAndDestroy();
  } else if (answer === 'close') {
    socket?.destroy();
  } else if ('raw' in answer) {
    socket?.end(typeof answer.raw === 'string' ? Buffer.from(answer.raw, 'latin1') : answer.raw);
  } else {
    await sendHttp(answer, response);
  }
}

async function sendHttp(answer: HttpAnswer, response: ServerResponse): Promise<void> {
  const { status = 200, reason, body = '', trailers } = answer;
  const headers = [...toHeaderList(answer.headers)];
  const bytes = typeof body === 'string' ? Buffer.from(body) : body;
  if (bytes instanceof Uint8Array && !trailers && !isFramed(headers) && status !== 204 && status !== 304) {
    headers.push(['Content-Length', String(bytes.byteLength)]);
  }
  response.sendDate = false;
  const flat = toFlat(headers);
  if (reason === undefined) response.writeHead(status, flat);
  else response.writeHead(status, reason, flat);
  for await (const part of bytes instanceof Uint8Array ? [bytes] : bytes) response.write(part);
  if (trailers) response.addTrailers(trailers);
  response.end();
}

function isFramed(headers: HeaderList): boolean {
  return headers.some(([name]) => /^(content-length|transfer-encoding)$/i.test(name));
}
