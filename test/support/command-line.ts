import { join } from 'node:path';
import { ManagedProcess } from './managed-process.ts';

const entryPoint = join(import.meta.dirname, '../../sidecar/main.ts');

/** What a command did. */
export interface CommandResult {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `holdline` with these arguments in a process of its own, to its end. */
export async function runHoldline(
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string | undefined>> } = {},
): Promise<CommandResult> {
  const command = await ManagedProcess.start({
    label: `holdline ${args.join(' ')}`,
    command: process.execPath,
    args: [entryPoint, ...args],
    ...options,
  });
  const { code } = await command.exited;
  return { exitCode: code, stdout: command.stdout, stderr: command.stderr };
}
