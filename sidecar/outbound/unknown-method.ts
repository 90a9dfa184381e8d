import { METHODS, type IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { methodPattern } from '../http/method.ts';

/** What the parser says of a method that it does not know, and of one that it knows from another protocol. */
export interface ParserError {
  readonly code?: string;
  readonly reason?: string;
  readonly bytesParsed?: number;
  readonly rawPacket?: Buffer;
}

/** Stands for the unknown method before the parser: it frames a request as every other, and upgrades nothing. */
const substitute = 'POST';
/** Methods of RTSP, and the preface of HTTP/2, which the parser follows, too, before it refuses them. */
const foreign = [
  ['PRI', 'DESCRIBE', 'ANNOUNCE', 'SETUP', 'PLAY', 'PAUSE', 'TEARDOWN', 'GET_PARAMETER', 'SET_PARAMETER'],
  ['REDIRECT', 'RECORD', 'FLUSH'],
].flat();
const beginning = /^(?:\r?\n)*(?<method>[^\s]{1,128}) /;

/** Whether the parser gave up because of the method alone. */
export function isUnknownMethod({ code, reason }: ParserError): boolean {
  return (
    code === 'HPE_INVALID_METHOD' || (code === 'HPE_INVALID_CONSTANT' && /^invalid method for/i.test(reason ?? ''))
  );
}

/** A packet that begins with a request whose method the parser does not know. */
export interface Unread {
  readonly method: string;
  /** What comes after the method. */
  readonly rest: Buffer;
}

/**
 * Finds the method that the parser refused.
 * @param fresh nothing but this packet has come on the connection; otherwise everything before it has been answered
 * @returns undefined where what is there is no request line, or begins before the packet
 */
export function unreadRequest(error: ParserError, fresh: boolean): Unread | undefined {
  const { rawPacket, bytesParsed = 0 } = error;
  const text = rawPacket?.toString('latin1', 0, 256) ?? '';
  const method = beginning.exec(text)?.groups?.['method'];
  if (rawPacket === undefined || method === undefined || !methodPattern.test(method)) return undefined;
  const at = text.indexOf(method);
  // Where the beginning of the method came in an earlier packet, the parser got stuck elsewhere than it would have here.
  if (!fresh && error.code === 'HPE_INVALID_METHOD' && bytesParsed !== at + knownLength(method)) return undefined;
  return { method, rest: rawPacket.subarray(at + method.length) };
}

/** Whether a request line goes on where the parser gave up, so that it was the method alone. */
export function isRequestLine({ rawPacket, bytesParsed = 0 }: ParserError): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9A-Za-z]* [^\s]+ HTTP\/1\.[01]\r\n/.test(
    rawPacket?.toString('latin1', bytesParsed, bytesParsed + 8192) ?? '',
  );
}

/** How far the parser follows a method. */
function knownLength(method: string): number {
  const common = (known: string) => {
    let length = 0;
    while (length < known.length && known[length] === method[length]) length++;
    return length;
  };
  return Math.max(...[...METHODS, ...foreign].map(common));
}

/**
 * A caller's connection from the point on where the parser did not know a method: the parser of a new connection gets the
 * same bytes with a method that it knows. Only such connections cost something for it, and they go through here to
 * their end.
 */
export class RereadConnection extends Duplex {
  readonly #socket: Socket;
  #method: string | undefined;
  #isReplaced = false;

  constructor(from: Socket | RereadConnection, { method, rest }: Unread) {
    // Who closes its sending half still wants its answer.
    super({ allowHalfOpen: true });
    this.#method = method;
    this.#socket = from instanceof RereadConnection ? from.#release() : from;
    // The listeners of the parser that gave up; with them goes the limit that it had set.
    this.#socket.removeAllListeners('data').removeAllListeners('end').setTimeout(0);
    this.push(Buffer.concat([Buffer.from(substitute), rest]));
    this.#socket.on('data', this.#onData).on('end', this.#onEnd).on('close', this.#onClose);
    if (this.#socket.listenerCount('error') === 0) this.#socket.on('error', () => this.#socket.destroy());
  }

  /** Gives a request of this connection the method that its caller wrote. */
  restoreMethod(req: IncomingMessage): void {
    if (this.#method === undefined) return;
    req.method = this.#method;
    this.#method = undefined;
  }

  /** As on a `Socket`; the connection is closed when it is over. */
  setTimeout(ms: number): this {
    this.#socket.setTimeout(ms);
    return this;
  }

  /** As on a `Socket`: ends it, and closes it once everything is written. */
  destroySoon(): void {
    if (this.writableFinished) this.destroy();
    else this.once('finish', () => this.destroy()).end();
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#unhook();
    if (!this.#isReplaced) this.#socket.destroy();
    done(error);
  }

  /** Another one reads on. */
  #release(): Socket {
    this.#isReplaced = true;
    this.destroy();
    return this.#socket;
  }

  #unhook(): void {
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('close', this.#onClose);
  }

  readonly #onData = (data: Buffer): void => {
    if (!this.push(data)) this.#socket.pause();
  };

  readonly #onEnd = (): void => {
    this.push(null);
  };

  readonly #onClose = (): void => {
    this.destroy();
  };
}
