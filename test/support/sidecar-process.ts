import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { eventually } from './eventually.ts';
import { freePort } from './free-port.ts';
import { request } from './http-client.ts';
import { type Exit, ManagedProcess } from './managed-process.ts';
import { createTempDir, type TempDir } from './temp-dir.ts';

const entryPoint = join(import.meta.dirname, '../../sidecar/main.ts');

type Section = Readonly<Record<string, unknown>>;

/**
 * A configuration as a user would write it. Left open on purpose: tests also write what is wrong.
 * `admin.listen` and, where there is an `outbound` section, `outbound.listen` are free ports unless they are given.
 */
export interface SidecarConfig {
  readonly service?: string;
  readonly broker?: string | Section;
  readonly outbound?: Section;
  readonly inbound?: readonly Section[];
  readonly subscribe?: readonly Section[];
  readonly admin?: Section;
  readonly [section: string]: unknown;
}

/** What is not configuration. */
export interface SidecarOptions {
  /** What to wait for. Default: `ready`; `live` where the broker is down, `spawned` where the start is to fail. */
  readonly until?: 'ready' | 'live' | 'spawned';
  /** Added to the environment of the process. */
  readonly env?: Readonly<Record<string, string>>;
  /** The folder of the configuration file, which relative paths start at. Default: a temporary one of its own. */
  readonly folder?: string;
}

/** A real sidecar in a process of its own. It keeps its ports and its configuration file over restarts. */
export class SidecarProcess implements AsyncDisposable {
  readonly #folder: TempDir;
  readonly #options: SidecarOptions;
  readonly #ports: { readonly outbound: number; readonly admin: number };
  #config: SidecarConfig = {};
  #process: ManagedProcess | undefined;

  private constructor(folder: TempDir, ports: { outbound: number; admin: number }, options: SidecarOptions) {
    this.#folder = folder;
    this.#ports = ports;
    this.#options = options;
  }

  /** As {@link startSidecar}. */
  static async start(config: SidecarConfig, options: SidecarOptions): Promise<SidecarProcess> {
    const ports = { outbound: await freePort(), admin: await freePort() };
    const sidecar = new SidecarProcess(await createTempDir(config.service ?? 'sidecar'), ports, options);
    try {
      await sidecar.configure(config);
      await sidecar.restart();
      return sidecar;
    } catch (error) {
      await sidecar[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where its service sends calls, as a URL. */
  get outboundUrl(): string {
    return `http://${String(this.#config.outbound?.['listen'])}`;
  }

  /** The admin listener, as a URL. */
  get adminUrl(): string {
    return `http://${String(this.#config.admin?.['listen'])}`;
  }

  /** The path of the configuration file. */
  get file(): string {
    return join(this.#options.folder ?? this.#folder.path, `${this.#config.service ?? 'sidecar'}.yaml`);
  }

  get pid(): number {
    return this.#running.pid;
  }

  /** All that it has printed since its last start. */
  get logs(): string {
    return this.#running.logs;
  }

  get stdout(): string {
    return this.#running.stdout;
  }

  get stderr(): string {
    return this.#running.stderr;
  }

  /** Resolves when it has ended. */
  get exited(): Promise<Exit> {
    return this.#running.exited;
  }

  /** Writes another configuration, with the same ports, to its file. A running sidecar sees a changed file by itself. */
  async configure(config: SidecarConfig): Promise<void> {
    const { outbound, admin } = config;
    this.#config = {
      ...config,
      ...(outbound && { outbound: { listen: `127.0.0.1:${this.#ports.outbound}`, ...outbound } }),
      admin: { listen: `127.0.0.1:${this.#ports.admin}`, ...admin },
    };
    await writeFile(this.file, stringify(this.#config));
  }

  /** Asks it to read its file again (SIGHUP); does not wait. */
  reload(): void {
    this.#running.signal('SIGHUP');
  }

  /** Resolves when `/ready` says 200: broker connected, listeners open. */
  async ready(): Promise<void> {
    await this.#answers('/ready');
  }

  /** Resolves when `/live` says 200, whether the broker is there or not. */
  async live(): Promise<void> {
    await this.#answers('/live');
  }

  /** Kills it as a crash would; resolves when it is gone. `restart` brings it back. */
  async kill9(): Promise<void> {
    await this.#running.kill9();
  }

  /** Stops it as an operator would (SIGTERM); resolves with its end once it has drained. */
  async terminate(): Promise<Exit> {
    return this.#running.terminate();
  }

  /** Asks it to stop (SIGTERM) and does not wait: for what happens while it drains. */
  beginTermination(): void {
    this.#running.signal('SIGTERM');
  }

  /** Stops it if it runs, and starts it again with its file; resolves as `startSidecar` did. */
  async restart(): Promise<void> {
    if (this.#process && this.#process.exit === undefined) await this.terminate();
    this.#process = await ManagedProcess.start({
      label: `sidecar of ${this.#config.service ?? 'nobody'}`,
      command: process.execPath,
      args: [entryPoint, 'run', '--config', this.file],
      cwd: this.#folder.path,
      ...(this.#options.env && { env: this.#options.env }),
    });
    const until = this.#options.until ?? 'ready';
    if (until === 'ready') await this.ready();
    if (until === 'live') await this.live();
  }

  /** Freezes it, connections open. */
  async suspend(): Promise<void> {
    await this.#running.suspend();
  }

  /** Lets it go on after `suspend`. */
  resume(): void {
    this.#running.resume();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process?.kill9();
    await this.#folder.remove();
  }

  get #running(): ManagedProcess {
    if (!this.#process) throw new Error('the sidecar was never started');
    return this.#process;
  }

  async #answers(path: string): Promise<void> {
    const { label } = this.#running;
    await eventually(
      async () => {
        const { status, text } = await request(this.adminUrl + path, { timeoutMs: 5_000 });
        if (status !== 200) throw new Error(`${path} says ${status} ${text}\n${this.logs}`);
      },
      { what: `${label} to answer ${path}`, timeoutMs: 30_000, pointless: () => this.#running.obituary },
    );
  }
}

/**
 * Writes the configuration to a file and starts `holdline run` with it, in a process of its own.
 * @throws Error with everything it printed when it ends, or does not come up, before what was waited for.
 */
export async function startSidecar(config: SidecarConfig, options: SidecarOptions = {}): Promise<SidecarProcess> {
  return SidecarProcess.start(config, options);
}
