import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createLatch, type Latch } from './latch.ts';
import { patience, within } from './patience.ts';
import type { HeaderList } from './header-list.ts';

/** One response, byte for byte. */
export interface RawResponse {
  readonly statusLine: string;
  readonly status: number;
  readonly reason: string;
  readonly headers: HeaderList;
  /** The content, with any chunked encoding taken off. */
  readonly body: Buffer;
  readonly trailers: HeaderList;
  /** All of it as it came. */
  readonly bytes: Buffer;
}

/** What was asked, as far as it decides where the response ends (RFC 9112 §6.3). */
export interface RawReadOptions {
  /** The method that is being answered; a response to HEAD or CONNECT has no body. Default: any other. */
  readonly method?: string;
}

/** A TCP connection that sends and shows bytes as they are: for fidelity tests and hostile input. */
export class RawConnection implements Disposable {
  readonly #socket: Socket;
  #received = Buffer.alloc(0);
  #ended = false;
  #error: Error | undefined;
  #change: Latch = createLatch();

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (data: Buffer) => {
      this.#received = Buffer.concat([this.#received, data]);
      this.#changed();
    });
    socket.on('error', (error) => (this.#error = error));
    for (const event of ['end', 'close']) {
      socket.on(event, () => {
        this.#ended = true;
        this.#changed();
      });
    }
  }

  /** Sends bytes; in a string each character is one byte (latin1). */
  send(bytes: string | Uint8Array): void {
    this.#socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
  }

  /** Closes the sending half. */
  endSending(): void {
    this.#socket.end();
  }

  /** Closes the connection with a reset. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  /**
   * Reads the next response, an interim one (1xx) included.
   * @throws Error with what there is when the connection ends in the middle or the time is over.
   */
  async readResponse(options: RawReadOptions = {}): Promise<RawResponse> {
    const head = await this.#upTo('\r\n\r\n', 0);
    const [statusLine = '', ...lines] = this.#text(0, head - 4).split('\r\n');
    const match = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/.exec(statusLine);
    if (!match) throw new Error(`not a status line: "${statusLine}"`);
    const status = Number(match[1]);
    const headers = lines.map(parseField);
    const framed = await this.#readBody(head, status, headers, options.method ?? 'GET');
    const bytes = this.#received.subarray(0, framed.end);
    this.#received = this.#received.subarray(framed.end);
    return { statusLine, status, reason: match[2] ?? '', headers, body: framed.body, trailers: framed.trailers, bytes };
  }

  /**
   * Resolves when these bytes are among those that are not read yet; they stay there.
   * @throws Error as {@link readResponse}
   */
  async readUntil(bytes: string): Promise<void> {
    await this.#upTo(bytes, 0);
  }

  /** Everything not read yet, once the peer has closed. */
  async readToEnd(): Promise<Buffer> {
    while (!this.#ended) await this.#more();
    const rest = this.#received;
    this.#received = Buffer.alloc(0);
    return rest;
  }

  [Symbol.dispose](): void {
    this.#socket.destroy();
  }

  async #readBody(head: number, status: number, headers: HeaderList, method: string): Promise<Framed> {
    const none = status < 200 || status === 204 || status === 304 || method === 'HEAD';
    if (none || (method === 'CONNECT' && status < 300)) return { body: Buffer.alloc(0), trailers: [], end: head };
    const find = (wanted: string) => headers.find(([name]) => name.toLowerCase() === wanted)?.[1];
    if (/\bchunked$/i.test(find('transfer-encoding') ?? '')) return this.#readChunks(head);
    const length = find('content-length');
    if (length === undefined) while (!this.#ended) await this.#more();
    const end = length === undefined ? this.#received.length : head + Number(length);
    await this.#need(end);
    return { body: this.#received.subarray(head, end), trailers: [], end };
  }

  async #readChunks(start: number): Promise<Framed> {
    const chunks: Buffer[] = [];
    for (let at = start; ;) {
      const data = await this.#upTo('\r\n', at);
      const size = Number.parseInt(this.#text(at, data - 2), 16);
      if (Number.isNaN(size)) throw new Error(`not a chunk size: "${this.#text(at, data - 2)}"`);
      if (size === 0) return { body: Buffer.concat(chunks), ...(await this.#readTrailers(data)) };
      await this.#need(data + size + 2);
      chunks.push(this.#received.subarray(data, data + size));
      at = data + size + 2;
    }
  }

  async #readTrailers(start: number): Promise<{ trailers: HeaderList; end: number }> {
    const trailers: [string, string][] = [];
    for (let at = start; ;) {
      const end = await this.#upTo('\r\n', at);
      if (end - at === 2) return { trailers, end };
      trailers.push(parseField(this.#text(at, end - 2)));
      at = end;
    }
  }

  /** The position after the next occurrence of `mark`. */
  async #upTo(mark: string, from: number): Promise<number> {
    for (;;) {
      const index = this.#received.indexOf(mark, from, 'latin1');
      if (index >= 0) return index + mark.length;
      await this.#need(this.#received.length + 1);
    }
  }

  async #need(length: number): Promise<void> {
    while (this.#received.length < length) {
      if (this.#ended) {
        const got = `after ${this.#received.length} bytes: ${JSON.stringify(this.#text(0, this.#received.length))}`;
        throw new Error(`the connection ended in the middle of a response, ${got}`, { cause: this.#error });
      }
      await this.#more();
    }
  }

  async #more(): Promise<void> {
    const limitMs = 30_000 * patience();
    const so = () => JSON.stringify(this.#text(0, this.#received.length));
    await within(this.#change.wait(), limitMs, `waited ${limitMs} ms for more bytes; so far: ${so()}`);
  }

  #changed(): void {
    this.#change.open();
    this.#change = createLatch();
  }

  #text(from: number, to: number): string {
    return this.#received.toString('latin1', from, to);
  }
}

interface Framed {
  readonly body: Buffer;
  readonly trailers: HeaderList;
  readonly end: number;
}

/** Opens a connection to a loopback port. */
export async function connectRaw(port: number): Promise<RawConnection> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  await once(socket, 'connect');
  return new RawConnection(socket);
}

/** Sends bytes over a connection of their own and reads one response. */
export async function exchangeRaw(
  port: number,
  bytes: string | Uint8Array,
  options?: RawReadOptions,
): Promise<RawResponse> {
  using connection = await connectRaw(port);
  connection.send(bytes);
  return await connection.readResponse(options);
}

function parseField(line: string): [string, string] {
  const colon = line.indexOf(':');
  if (colon < 0) throw new Error(`not a header field: "${line}"`);
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
