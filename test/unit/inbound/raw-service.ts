import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { claim, release } from '../../support/leaks.ts';

/** Gets each connection; what it sends are bytes. */
type Behaviour = (socket: Socket, received: () => string) => void;

/** A service that speaks bytes: for what no HTTP server would send, and to see what really arrived. */
export class RawService implements AsyncDisposable {
  readonly port: number;
  /** What arrived on each connection so far, one character a byte. */
  readonly received: string[] = [];
  readonly #server;
  readonly #sockets = new Set<Socket>();

  private constructor(port: number, behaviour: Behaviour) {
    this.port = port;
    this.#server = createServer({ noDelay: true }, (socket) => {
      const place = this.received.push('') - 1;
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
      socket.on('error', () => {});
      socket.on('data', (data) => (this.received[place] += data.toString('latin1')));
      behaviour(socket, () => this.received[place]!);
    });
  }

  static async start(behaviour: Behaviour): Promise<RawService> {
    const service = new RawService(await freePort(), behaviour);
    service.#server.listen(service.port, '127.0.0.1');
    await once(service.#server, 'listening');
    claim(service, { what: `raw service on port ${service.port}`, destroy: () => service.#server.close() });
    return service;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get connections(): number {
    return this.#sockets.size;
  }

  /** Resolves when this has arrived on one of the connections. */
  async got(text: string): Promise<string> {
    return eventually(
      () => {
        const found = this.received.find((bytes) => bytes.includes(text));
        if (found === undefined) throw new Error(`received so far: ${JSON.stringify(this.received)}`);
        return found;
      },
      { what: `${JSON.stringify(text)} at the raw service` },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, 'close');
    release(this);
  }
}

/** Answers every request on every connection with these bytes; a request here ends with its head. */
export function answering(...answers: readonly (string | readonly string[])[]): Behaviour {
  let answered = 0;
  return (socket, received) => {
    let seen = 0;
    socket.on('data', () => {
      const heads = received().split('\r\n\r\n').length - 1;
      for (; seen < heads; seen++) {
        const answer = answers[Math.min(answered++, answers.length - 1)]!;
        if (typeof answer === 'string') socket.write(Buffer.from(answer, 'latin1'));
        else writeInPieces(socket, answer);
      }
    });
  };
}

/** Each piece in a turn of its own, so that it arrives as a packet of its own. */
function writeInPieces(socket: Socket, pieces: readonly string[]): void {
  const [first, ...rest] = pieces;
  if (first === undefined) return;
  socket.write(Buffer.from(first, 'latin1'), () => setImmediate(() => writeInPieces(socket, rest)));
}
