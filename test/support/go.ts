import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** Where and with what a Go command runs. */
export interface GoOptions {
  readonly cwd?: string;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Runs a `go` command and resolves with what it printed.
 * @param purpose what it is needed for, as the beginning of a failure's message
 * @throws Error when there is no Go, or the command fails
 */
export async function go(purpose: string, args: readonly string[], options: GoOptions = {}): Promise<string> {
  // The Go installer does not touch the PATH; this is where it puts itself.
  const path = `${process.env['PATH'] ?? ''}:/usr/local/go/bin`;
  const env = { ...process.env, ...options.env, PATH: path };
  try {
    const maxBuffer = 16 * 1024 * 1024;
    const { stdout } = await run('go', args, { env, maxBuffer, ...(options.cwd && { cwd: options.cwd }) });
    return stdout;
  } catch (cause) {
    throw new Error(`${purpose} with Go, but: ${String(cause)}`, { cause });
  }
}
