import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { eventually } from '../../support/eventually.ts';
import { claim, release } from '../../support/leaks.ts';
import { readMessage, type Message } from './message.ts';

/** What the callee does with a request; bytes of a string are characters. Without it the request is answered 200. */
export type Reaction = string | ((socket: Socket, request: Message) => void);

/** A callee that speaks bytes: it shows each request as it came, and its answers are written as they are. */
export class ByteCallee implements AsyncDisposable {
  /** Every request, in the order in which they were complete. */
  readonly requests: Message[] = [];
  /** Bytes that are no request yet, one entry a connection. */
  readonly #rest = new Map<Socket, string>();
  readonly #server: Server;
  #reaction: Reaction = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
  /** Called with what has arrived of a request when its head is there. */
  #atHead: ((socket: Socket, head: string) => void) | undefined;

  private constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => {
      this.#rest.set(socket, '');
      socket.on('close', () => this.#rest.delete(socket)).on('error', () => socket.destroy());
      socket.setEncoding('latin1').on('data', (data: string) => this.#arrived(socket, data));
    });
  }

  static async start(): Promise<ByteCallee> {
    const callee = new ByteCallee();
    callee.#server.listen(0, '127.0.0.1');
    await once(callee.#server, 'listening');
    claim(callee, { what: `byte callee on port ${callee.port}`, destroy: () => callee.#server.close() });
    return callee;
  }

  get port(): number {
    return (this.#server.address() as { port: number }).port;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** From now on requests are answered like this. */
  reacts(reaction: Reaction, atHead?: (socket: Socket, head: string) => void): void {
    this.#reaction = reaction;
    this.#atHead = atHead;
  }

  /** The request that comes after the first `count`. */
  async received(count: number): Promise<Message> {
    return eventually(
      () => {
        const request = this.requests[count];
        if (request === undefined) throw new Error(`so far: ${JSON.stringify([...this.#rest.values()])}`);
        return request;
      },
      { what: 'a request at the callee' },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#rest.keys()) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
    release(this);
  }

  #arrived(socket: Socket, data: string): void {
    const before = this.#rest.get(socket) ?? '';
    let rest = before + data;
    const head = rest.indexOf('\r\n\r\n');
    if (head >= 0 && before.indexOf('\r\n\r\n') < 0) this.#atHead?.(socket, rest.slice(0, head));
    for (let message = readMessage(rest); message !== undefined; message = readMessage(rest)) {
      rest = rest.slice(message.bytes.length);
      this.requests.push(message);
      this.#react(socket, message);
    }
    this.#rest.set(socket, rest);
  }

  #react(socket: Socket, request: Message): void {
    if (typeof this.#reaction === 'function') this.#reaction(socket, request);
    else socket.write(Buffer.from(answerTo(request, this.#reaction), 'latin1'));
  }
}

/** What answers HEAD ends with its head. */
function answerTo({ line }: Message, answer: string): string {
  return line.startsWith('HEAD ') ? answer.slice(0, answer.lastIndexOf('\r\n\r\n') + 4) : answer;
}
