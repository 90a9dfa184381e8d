import { once } from 'node:events';
import { connect } from 'node:net';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { ManagedProcess } from '../support/managed-process.ts';

/** How to start a server. */
export interface ServerProgramOptions {
  readonly label: string;
  /** The command line, once the port is known; the first is an absolute path. */
  readonly command: (port: number) => readonly string[];
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Somebody's server, in a process of its own. It keeps its port over restarts. */
export class ServerProgram implements AsyncDisposable {
  readonly port: number;
  readonly #options: ServerProgramOptions;
  #process: ManagedProcess | undefined;

  private constructor(port: number, options: ServerProgramOptions) {
    this.port = port;
    this.#options = options;
  }

  /**
   * Starts it and resolves when it takes connections.
   * @throws Error with its output when it ends before.
   */
  static async start(options: ServerProgramOptions): Promise<ServerProgram> {
    const server = new ServerProgram(await freePort(), options);
    await server.start();
    return server;
  }

  /** All that it has printed since its last start. */
  get logs(): string {
    return this.#process?.logs ?? '';
  }

  /** Starts it after {@link kill9}; resolves when it takes connections. */
  async start(): Promise<void> {
    const { label, command, cwd, env } = this.#options;
    const [executable = '', ...args] = command(this.port);
    const server = await ManagedProcess.start({
      label,
      command: executable,
      args,
      ...(cwd !== undefined && { cwd }),
      ...(env && { env }),
    });
    this.#process = server;
    try {
      await eventually(
        async () => {
          const socket = connect(this.port, '127.0.0.1');
          try {
            await once(socket, 'connect');
          } finally {
            socket.destroy();
          }
        },
        { what: `${label} to take connections`, timeoutMs: 40_000, pointless: () => server.obituary },
      );
    } catch (error) {
      await server.kill9();
      throw error;
    }
  }

  /** Kills it as a crash would; resolves when it is gone. */
  async kill9(): Promise<void> {
    await this.#process?.kill9();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}
