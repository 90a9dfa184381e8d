import type { Command } from 'commander';
import { InvalidConfiguration } from './failure.ts';
import { print, printJson } from './print.ts';

/** `holdline explain`: what a configuration file means. */
export function register(program: Command): void {
  program
    .command('explain')
    .description('print the resolved configuration, defaults filled in, secrets masked')
    .argument('<file>', 'configuration file (YAML)')
    .option('--json', 'print JSON', false)
    .addHelpText(
      'after',
      `
Example:
  $ holdline explain config/orders.yaml`,
    )
    .action(async (file: string, options: { json: boolean }) => {
      const [{ formatConfigError, loadConfig }, { explain }, { writeYaml }] = await Promise.all([
        import('../config/load.ts'),
        import('../config/explain.ts'),
        import('../config/document.ts'),
      ]);
      const loaded = loadConfig(file, process.env);
      if (!loaded.ok) throw new InvalidConfiguration(loaded.errors.map(formatConfigError));
      const resolved = explain(loaded.config);
      if (options.json) printJson(resolved);
      else print(writeYaml(resolved).trimEnd());
    });
}
