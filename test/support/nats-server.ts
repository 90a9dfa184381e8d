import { writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { type Exit, ManagedProcess } from './managed-process.ts';
import { findServerBinary } from './server-binary.ts';
import { createTempDir, type TempDir } from './temp-dir.ts';

/** How to start a server; every part has a default. */
export interface NatsServerOptions {
  /** A server binary. Default: {@link findServerBinary}. */
  readonly bin?: string;
  /** The client port. Default: a free one. */
  readonly port?: number;
  /** Where the streams are kept. Default: a temporary folder that goes away with the server. */
  readonly storeDir?: string;
  /** Lines for the `jetstream` block of the server's configuration, such as `max_file_store: 10MB`. */
  readonly jetstream?: string;
  /** Further lines of the server's configuration: authorization, cluster, tls, … */
  readonly config?: string;
  /** Added to the environment of the server, for the `$VARIABLES` of its configuration. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A real nats-server with JetStream on loopback. It keeps its port and its streams over restarts. */
export class NatsServer implements AsyncDisposable {
  readonly port: number;
  readonly storeDir: string;
  readonly #bin: string;
  readonly #folder: TempDir;
  readonly #env: Readonly<Record<string, string>>;
  #process: ManagedProcess;

  private constructor(
    bin: string,
    port: number,
    storeDir: string,
    folder: TempDir,
    env: Readonly<Record<string, string>>,
    process: ManagedProcess,
  ) {
    this.#env = env;
    this.#bin = bin;
    this.port = port;
    this.storeDir = storeDir;
    this.#folder = folder;
    this.#process = process;
  }

  /** As {@link startNatsServer}. */
  static async start(options: NatsServerOptions): Promise<NatsServer> {
    const bin = options.bin ?? (await findServerBinary());
    const port = options.port ?? (await freePort());
    const folder = await createTempDir('nats');
    const storeDir = options.storeDir ?? folder.join('store');
    await writeFile(
      folder.join('nats.conf'),
      [
        `listen: "127.0.0.1:${port}"`,
        `jetstream { store_dir: ${JSON.stringify(storeDir)}`,
        options.jetstream ?? '',
        '}',
        options.config ?? '',
      ].join('\n'),
    );
    try {
      const env = options.env ?? {};
      return new NatsServer(bin, port, storeDir, folder, env, await launch(bin, port, folder, env));
    } catch (error) {
      await folder.remove();
      throw error;
    }
  }

  /** The broker URL, as in a configuration. */
  get url(): string {
    return `nats://127.0.0.1:${this.port}`;
  }

  /** The pid of the running server; another one after a restart. */
  get pid(): number {
    return this.#process.pid;
  }

  /** What the server has logged since its last start. */
  get logs(): string {
    return this.#process.logs;
  }

  /** Kills it as a crash would; resolves when it is gone. `restart` brings it back. */
  async kill9(): Promise<void> {
    await this.#process.kill9();
  }

  /** Stops it as an operator would; resolves when it is gone. `restart` brings it back. */
  async stop(): Promise<Exit> {
    return this.#process.terminate();
  }

  /** Stops it if it runs, and starts it again on the same port and streams; resolves when it takes clients. */
  async restart(): Promise<void> {
    if (this.#process.exit === undefined) await this.stop();
    this.#process = await launch(this.#bin, this.port, this.#folder, this.#env);
  }

  /** Freezes it, connections open: a network partition, seen from its clients. */
  async suspend(): Promise<void> {
    await this.#process.suspend();
  }

  /** Lets it go on after `suspend`. */
  resume(): void {
    this.#process.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill9();
    await this.#folder.remove();
  }
}

/**
 * Starts a nats-server and resolves when it takes clients.
 * @throws Error with the server's log when it does not come up.
 */
export async function startNatsServer(options: NatsServerOptions = {}): Promise<NatsServer> {
  return NatsServer.start(options);
}

async function launch(
  bin: string,
  port: number,
  folder: TempDir,
  env: Readonly<Record<string, string>>,
): Promise<ManagedProcess> {
  const server = await ManagedProcess.start({
    label: 'nats-server',
    command: bin,
    args: ['-c', folder.join('nats.conf')],
    env,
  });
  try {
    await eventually(() => handshake(port), {
      what: 'nats-server to take clients',
      timeoutMs: 30_000,
      pointless: () => server.obituary,
    });
    return server;
  } catch (error) {
    await server.kill9();
    throw error;
  }
}

/**
 * The client protocol's own greeting: INFO, CONNECT, PING, PONG. By then the streams are recovered. A server that wants
 * TLS or credentials answers with less, which shows as well that it is up.
 */
async function handshake(port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect(port, '127.0.0.1');
  socket.setTimeout(2_000, () => reject(new Error('no greeting within 2 s')));
  socket.once('error', reject);
  socket.once('close', () => reject(new Error('connection closed during the greeting')));
  let received = '';
  let greeted = false;
  socket.setEncoding('utf8').on('data', (text: string) => {
    received += text;
    if (!greeted && received.includes('\r\n')) {
      greeted = true;
      if (received.includes('"tls_required":true')) resolve();
      else socket.write('CONNECT {"verbose":false}\r\nPING\r\n');
    }
    if (/^(PONG|-ERR 'Authorization Violation')/m.test(received)) resolve();
  });
  try {
    await promise;
  } finally {
    socket.destroy();
  }
}
