import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { claim, release } from '../support/leaks.ts';

/** What is stopped at the checkpoint: requests before the server has them, or answers before the caller has them. */
export type Moment = 'request' | 'answer';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** The request lines that have gone to the server; what it answers now is the last one's. */
  asked: string;
}

/**
 * The last step on the way to a server, where the requests of a kind can be stopped in the middle. What passes is not
 * changed. It is as the server is: while {@link close}d, connections are refused.
 */
export class Checkpoint implements AsyncDisposable {
  readonly port: number;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  #stops: { readonly moment: Moment; readonly line: RegExp } | undefined;
  #stopped = 0;
  #listener: Server | undefined;

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  /** A checkpoint in front of a loopback port; it is open, and nothing is stopped. */
  static async start(target: number): Promise<Checkpoint> {
    const checkpoint = new Checkpoint(await freePort(), target);
    await checkpoint.open();
    return checkpoint;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /**
   * From now on, until it is closed, requests of this kind are stopped.
   * @param line is matched with a request's method and target, such as `GET /shop?rev=1`
   */
  stop(moment: Moment, line: RegExp): void {
    this.#stops = { moment, line };
    this.#stopped = 0;
  }

  /** Resolves when `count` requests, or the beginnings of their answers, stand here. */
  async stopped(count: number): Promise<void> {
    await eventually(
      () => {
        if (this.#stopped < count) throw new Error(`${this.#stopped} were`);
      },
      {
        what: `${count} requests to be stopped: ${String(this.#stops?.line)}`,
        timeoutMs: 90_000,
        pointless: () => (this.#listener ? undefined : 'the checkpoint is closed'),
      },
    );
  }

  /** Ends every connection, with what stands here, refuses new ones, and stops nothing any more. */
  async close(): Promise<void> {
    const listener = this.#listener;
    if (!listener) return;
    this.#listener = undefined;
    this.#stops = undefined;
    const closed = once(listener, 'close');
    listener.close();
    for (const pair of this.#pairs) reset(pair);
    await closed;
    release(listener);
  }

  /** Takes connections. */
  async open(): Promise<void> {
    const listener = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
    listener.listen(this.port, '127.0.0.1');
    await once(listener, 'listening');
    this.#listener = listener;
    claim(listener, {
      what: `checkpoint on port ${this.port}`,
      destroy: () => {
        listener.close();
        for (const pair of this.#pairs) reset(pair);
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #accept(client: Socket): void {
    const server = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const pair: Pair = { client, server, asked: '' };
    this.#pairs.add(pair);
    client.on('data', (data: Buffer) => {
      for (const [, line = ''] of data.toString('latin1').matchAll(/^([A-Z]+ \S+) HTTP\/1\.1\r$/gm)) {
        pair.asked = line;
        if (this.#isToStop('request', pair)) return;
      }
      forward(data, client, server);
    });
    server.on('data', (data: Buffer) => {
      if (!this.#isToStop('answer', pair)) forward(data, server, client);
    });
    client.once('end', () => server.end());
    server.once('end', () => client.end());
    for (const socket of [client, server]) {
      // An error is always followed by 'close', where the other side learns of it.
      socket.on('error', () => socket.destroy());
      socket.once('close', () => {
        this.#pairs.delete(pair);
        reset(pair);
      });
    }
  }

  /** What has once been stopped goes no further: it stays until the connection ends. */
  #isToStop(moment: Moment, pair: Pair): boolean {
    if (this.#stops?.moment !== moment || !this.#stops.line.test(pair.asked)) return false;
    this.#stopped++;
    pair.client.pause();
    pair.server.pause();
    return true;
  }
}

function forward(data: Buffer, from: Socket, to: Socket): void {
  if (to.write(data)) return;
  from.pause();
  to.once('drain', () => from.resume());
}

function reset({ client, server }: Pair): void {
  client.resetAndDestroy();
  server.resetAndDestroy();
}
