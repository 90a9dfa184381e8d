import { inspect } from 'node:util';
import { Command, CommanderError } from 'commander';
import { version } from '../lifecycle/version.ts';
import { commands } from './commands.ts';
import { exitCodes, InvalidConfiguration, WrongUsage } from './failure.ts';

/** The whole command line, without running it. */
export function createProgram(): Command {
  const program = new Command('holdline')
    .description('A sidecar that makes ordinary HTTP calls between services durable.')
    .version(version, '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help for a command')
    .showHelpAfterError('(--help says what is possible)')
    .exitOverride()
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 wrong usage or invalid configuration.');
  for (const register of commands) register(program);
  return program;
}

/**
 * Runs one command to its end.
 * @param args what stands behind `holdline` on the command line
 * @returns the exit code. Results were printed to stdout, errors to stderr.
 */
export async function holdline(args: readonly string[]): Promise<number> {
  quietWhenNobodyReads(process.stdout);
  try {
    await createProgram().parseAsync(args, { from: 'user' });
    // A command that has printed results and failed in part says so by itself.
    return Number(process.exitCode ?? exitCodes.done);
  } catch (error) {
    // Commander has printed its errors by now; help and version end in an "error" with exit code 0.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    process.stderr.write(`${describe(error)}\n`);
    return error instanceof WrongUsage || error instanceof InvalidConfiguration ? exitCodes.usage : exitCodes.failed;
  }
}

function describe(error: unknown): string {
  if (process.env['HOLDLINE_DEBUG']) return inspect(error);
  if (error instanceof InvalidConfiguration) return error.message;
  return `holdline: ${error instanceof Error ? error.message : String(error)}`;
}

/** `holdline calls list | head` closes the pipe early, which is no failure. */
function quietWhenNobodyReads(stream: NodeJS.WriteStream): void {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    process.exit(exitCodes.done);
  });
}
