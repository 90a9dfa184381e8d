import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { claim, release } from './leaks.ts';

/** Which bytes a stalled relay keeps back. */
export type Stall = 'to-server' | 'to-client' | 'both';

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
}

/**
 * A TCP relay in front of a loopback port: the network that a test can break.
 *
 * Three states: open; stalled (connections stay open, new ones are accepted, bytes go no further: packet loss);
 * cut (connections are reset, new ones refused: the peer is gone).
 */
export class TcpRelay implements AsyncDisposable {
  readonly port: number;
  readonly #target: number;
  readonly #pairs = new Set<Pair>();
  #accepted = 0;
  #stalled: Stall | undefined;
  #server: Server | undefined;

  private constructor(port: number, target: number) {
    this.port = port;
    this.#target = target;
  }

  /** As {@link startTcpRelay}. */
  static async start(target: number): Promise<TcpRelay> {
    const relay = new TcpRelay(await freePort(), target);
    await relay.heal();
    return relay;
  }

  /** Resolves when `count` connections have been accepted since its start. */
  async established(count: number): Promise<void> {
    await eventually(
      () => {
        if (this.#accepted < count) throw new Error(`${this.#accepted} connections`);
      },
      { what: `connection ${count} through the relay` },
    );
  }

  /** Keeps bytes back from now on; `to-client` alone is how an acknowledgement gets lost. */
  stall(direction: Stall = 'both'): void {
    this.#stalled = direction;
    for (const pair of this.#pairs) this.#flow(pair);
  }

  /** Resets every connection and refuses new ones. */
  async cut(): Promise<void> {
    const server = this.#server;
    if (!server) return;
    this.#server = undefined;
    const closed = once(server, 'close');
    server.close();
    for (const pair of this.#pairs) reset(pair);
    await closed;
    release(server);
  }

  /** Opens again, from stalled or cut: what was kept back goes on. */
  async heal(): Promise<void> {
    this.#stalled = undefined;
    for (const pair of this.#pairs) this.#flow(pair);
    if (this.#server) return;
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
    server.listen(this.port, '127.0.0.1');
    await once(server, 'listening');
    this.#server = server;
    claim(server, {
      what: `TCP relay on port ${this.port}`,
      destroy: () => {
        server.close();
        for (const pair of this.#pairs) reset(pair);
      },
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.cut();
  }

  #accept(client: Socket): void {
    const server = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    const pair = { client, server };
    this.#pairs.add(pair);
    this.#accepted++;
    client.pipe(server);
    server.pipe(client);
    this.#flow(pair);
    for (const socket of [client, server]) {
      // An error is always followed by 'close', where the other side learns of it.
      socket.on('error', () => socket.destroy());
      socket.once('close', () => {
        this.#pairs.delete(pair);
        reset(pair);
      });
    }
  }

  #flow({ client, server }: Pair): void {
    const holds = (direction: Stall) => this.#stalled === 'both' || this.#stalled === direction;
    connectFlow(client, server, !holds('to-server'));
    connectFlow(server, client, !holds('to-client'));
  }
}

/** Starts a relay to a loopback port; it is open. */
export async function startTcpRelay(target: number): Promise<TcpRelay> {
  return TcpRelay.start(target);
}

function connectFlow(from: Socket, to: Socket, open: boolean): void {
  from.unpipe(to);
  if (open) from.pipe(to);
  else from.pause();
}

function reset({ client, server }: Pair): void {
  client.resetAndDestroy();
  server.resetAndDestroy();
}
