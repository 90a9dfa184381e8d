import type { Command } from 'commander';

/** `holdline run`: starts the sidecar and ends when it has stopped. */
export function register(program: Command): void {
  program
    .command('run')
    .description('start the sidecar')
    .requiredOption('--config <file>', 'configuration file (YAML)')
    .addHelpText(
      'after',
      `
SIGTERM and SIGINT drain and stop; the same signal again stops at once. SIGHUP, or a change of the file, reloads it.
HOLDLINE_LOG_LEVEL sets the log level: trace, debug, info (default), warn, error or silent.

Example:
  $ holdline run --config holdline.yaml`,
    )
    .action(async (options: { config: string }) => {
      const { runSidecar } = await import('./sidecar-process.ts');
      process.exitCode = await runSidecar(options.config);
    });
}
