import type { Command } from 'commander';
import { exitCodes } from './failure.ts';
import { print, printJson, remark } from './print.ts';

/** `holdline check`: finds every mistake of configuration files. */
export function register(program: Command): void {
  program
    .command('check')
    .description('validate configuration files')
    .argument('<file...>', 'configuration files (YAML)')
    .option('--json', 'print JSON', false)
    .addHelpText(
      'after',
      `
Every mistake is printed at once, to stderr: file:line:column: path: what is wrong, what is allowed.
\${VAR} is replaced from the environment, as for a start, and files that the configuration names must be there.
Exit code 2 when a file has a mistake. What is there without effect is printed, too, and is none.

Example:
  $ holdline check config/*.yaml`,
    )
    .action(async (files: string[], options: { json: boolean }) => {
      const { formatConfigError, loadConfig } = await import('../config/load.ts');
      const results = files.map((file) => {
        const loaded = loadConfig(file, process.env);
        return { file, ok: loaded.ok, errors: loaded.ok ? [] : loaded.errors, remarks: loaded.remarks };
      });
      if (options.json) {
        printJson({ files: results });
      } else {
        for (const { file, ok, errors, remarks } of results) {
          if (ok) print(`${file}: ok`);
          for (const error of [...errors, ...remarks]) remark(formatConfigError(error));
        }
      }
      if (results.some(({ ok }) => !ok)) process.exitCode = exitCodes.usage;
    });
}
