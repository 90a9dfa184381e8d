import { appendFileSync } from 'node:fs';
import { eventually } from '../support/eventually.ts';
import { request } from '../support/http-client.ts';
import { ManagedProcess, type ProcessOptions } from '../support/managed-process.ts';

/** What a fault can do to a process of the system. */
export interface Victim {
  readonly name: string;
  /** As a crash; nothing where it does not run. */
  kill(): Promise<void>;
  /** As an operator would. */
  stop(): Promise<void>;
  /** Nothing where it runs. */
  start(): Promise<void>;
  pause(): Promise<void>;
  resume(): void;
}

export interface PartOptions extends ProcessOptions {
  /** Gets all that it prints, of all its lives. */
  readonly log: string;
  /** Says 200 when it is well. */
  readonly health?: string;
  /** It ended, and nobody had asked for it. */
  onCrash(detail: string): void;
}

/** A process that is killed and started again, with a log over all its lives. */
export class Part implements Victim {
  readonly #options: PartOptions;
  #process: ManagedProcess | undefined;
  #ending = false;

  constructor(options: PartOptions) {
    this.#options = options;
  }

  get name(): string {
    return this.#options.label;
  }

  /** Whether it ended by itself, with exit code 0. */
  get done(): boolean {
    return this.#process?.exit?.code === 0;
  }

  async start(): Promise<void> {
    if (this.#process && this.#process.exit === undefined) return;
    this.#ending = false;
    const started = await ManagedProcess.start(this.#options);
    this.#process = started;
    this.#note(`started, pid ${started.pid}`);
    started.exited.then(
      ({ code, signal }) => {
        appendFileSync(this.#options.log, started.logs);
        this.#note(`ended, ${signal ?? `exit code ${code}`}`);
        if (!this.#ending && code !== 0) {
          const lastLines = started.logs.trimEnd().split('\n').slice(-15).join('\n');
          this.#options.onCrash(`${signal ?? `exit code ${code}`}\n${lastLines}`);
        }
      },
      (error: unknown) => this.#options.onCrash(String(error)),
    );
  }

  async kill(): Promise<void> {
    this.#ending = true;
    await this.#process?.kill9();
  }

  async stop(): Promise<void> {
    this.#ending = true;
    if (this.#process && this.#process.exit === undefined) await this.#process.terminate();
  }

  async pause(): Promise<void> {
    if (this.#process && this.#process.exit === undefined) await this.#process.suspend();
  }

  resume(): void {
    this.#process?.resume();
  }

  /** Asks it to read its configuration again. One that is still starting reads it anyway, and SIGHUP would end it. */
  reload(): void {
    if (this.#process && /"msg":"started"/.test(this.#process.logs)) this.#process.signal('SIGHUP');
  }

  /** Resolves when it answers its health check. @throws Error when it does not within `timeoutMs` */
  async well(timeoutMs = 60_000): Promise<void> {
    const { health } = this.#options;
    if (health === undefined) return;
    await eventually(
      async () => {
        const { status, text } = await request(health, { timeoutMs: 5_000 });
        if (status !== 200) throw new Error(`${status} ${text}`);
      },
      { what: `${this.name} to be well`, timeoutMs, intervalMs: 200, pointless: () => this.#process?.obituary },
    );
  }

  #note(text: string): void {
    appendFileSync(this.#options.log, `--- ${new Date().toISOString()} ${this.name} ${text}\n`);
  }
}
