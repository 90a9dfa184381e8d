import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { eventually } from './eventually.ts';
import { claim, release } from './leaks.ts';
import { patience, within } from './patience.ts';

/**
 * A prefix that lets a command die with this process, however that one ends: a test worker is killed when its run is
 * interrupted, and then nothing of ours can tidy up. setpriv replaces itself by the command, under the same pid.
 */
const setpriv = '/usr/bin/setpriv';
const dieWithParent = existsSync(setpriv) ? [setpriv, '--pdeathsig', 'KILL', '--'] : [];

/** How a process ended: by itself with a code, or by a signal. */
export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** What to start. */
export interface ProcessOptions {
  /** What it is, for messages. */
  readonly label: string;
  /** An absolute path. */
  readonly command: string;
  readonly args: readonly string[];
  /** Added to this process's environment, of which the test runner's own variables are left out. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
}

/**
 * A child process under a test's control, with everything it prints.
 *
 * `expectNoLeaks` reports it when it is left running, and on Linux it never outlives the test process.
 */
export class ManagedProcess implements AsyncDisposable {
  readonly label: string;
  /** Resolves when the process has ended and its output is complete. */
  readonly exited: Promise<Exit>;
  /** What it has printed to stdout so far. */
  stdout = '';
  /** What it has printed to stderr so far. */
  stderr = '';
  #exit: Exit | undefined;
  #child: ChildProcess;

  private constructor(label: string, child: ChildProcess) {
    this.label = label;
    this.#child = child;
    const token = {};
    claim(token, {
      what: `process ${child.pid} (${label})`,
      destroy: () => child.kill('SIGKILL'),
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.stderr += text));
    const { promise, resolve } = Promise.withResolvers<Exit>();
    this.exited = promise;
    child.once('close', (code, signal) => {
      this.#exit = { code, signal };
      release(token);
      resolve(this.#exit);
    });
  }

  /**
   * Starts a process and resolves as soon as the system has it.
   * @throws Error when the command cannot be started at all.
   */
  static async start(options: ProcessOptions): Promise<ManagedProcess> {
    if (!existsSync(options.command)) throw new Error(`cannot start ${options.label}: no ${options.command}`);
    const [command = '', ...args] = [...dieWithParent, options.command, ...options.args];
    const child = spawn(command, args, {
      cwd: options.cwd,
      env: { ...inheritedEnvironment(), ...options.env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    child.once('spawn', resolve);
    child.once('error', (cause) => reject(new Error(`cannot start ${options.label}`, { cause })));
    await promise;
    return new ManagedProcess(options.label, child);
  }

  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new Error(`${this.label} has no pid`);
    return pid;
  }

  /** How it ended, undefined while it runs. */
  get exit(): Exit | undefined {
    return this.#exit;
  }

  /** How it ended and what it had said, as the end of a message; undefined while it runs. */
  get obituary(): string | undefined {
    if (this.#exit === undefined) return undefined;
    const { code, signal } = this.#exit;
    return `${this.label} has ended (${signal ?? `exit code ${code}`}) with the output:\n${this.logs}`;
  }

  /** All its output, for messages. */
  get logs(): string {
    return `${this.stdout}${this.stderr}`;
  }

  /** Resolves when its output matches. @throws Error when it ends before. */
  async printed(pattern: RegExp): Promise<void> {
    await eventually(
      () => {
        if (!pattern.test(this.logs)) throw new Error(`its output is: ${this.logs}`);
      },
      { what: `${this.label} to print ${pattern.source}`, pointless: () => this.obituary },
    );
  }

  /** Kills it as a crash would (SIGKILL), also when it is suspended; resolves when it is gone. */
  async kill9(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }

  /**
   * Asks it to stop and waits for its end.
   * @param timeoutMs when it has not ended by then, in ms, it is killed and the call throws. Default 40 000.
   */
  async terminate(timeoutMs = 40_000, signal: NodeJS.Signals = 'SIGTERM'): Promise<Exit> {
    this.#child.kill(signal);
    const limitMs = timeoutMs * patience();
    try {
      return await within(this.exited, limitMs, `${this.label} has not ended ${limitMs} ms after ${signal}`);
    } catch (cause) {
      await this.kill9();
      throw new Error(`${String(cause)}; it was killed. Its output:\n${this.logs}`, { cause });
    }
  }

  /** Sends a signal and does not wait. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Freezes it (SIGSTOP), sockets open: what a stalled machine looks like. Resolves when no thread runs any more. */
  async suspend(): Promise<void> {
    this.#child.kill('SIGSTOP');
    if (process.platform !== 'linux') return;
    await eventually(
      () => {
        const states = threadStates(this.pid);
        if (states.some((state) => state !== 'T')) throw new Error(`threads are ${states.join(' ')}`);
      },
      { what: `${this.label} to be suspended`, intervalMs: 1 },
    );
  }

  /** Lets it go on after `suspend` (SIGCONT). */
  resume(): void {
    this.#child.kill('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill9();
  }
}

/** A child runs as it would outside of the test runner. */
function inheritedEnvironment(): NodeJS.ProcessEnv {
  const own = /^(VITEST|NODE_ENV$|TEST$|FORCE_COLOR$)/;
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !own.test(name)));
}

/** The state letter of every thread of a process (proc(5), /proc/pid/stat). */
function threadStates(pid: number): string[] {
  return readdirSync(`/proc/${pid}/task`).map((thread) => {
    const stat = readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8');
    // The command name is in parentheses and may itself hold spaces and parentheses.
    return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
  });
}
