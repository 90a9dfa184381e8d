import type { Command } from 'commander';
import { InvalidConfiguration } from './failure.ts';
import { print, printJson, remark } from './print.ts';

/** `holdline asyncapi`: who publishes what, and who hears it. */
export function register(program: Command): void {
  program
    .command('asyncapi')
    .description('print an AsyncAPI 3.0 document of the events that services publish and subscribe to')
    .argument('<file...>', 'configuration files (YAML) of the services, all that share a broker')
    .option('--json', 'print JSON', false)
    .addHelpText(
      'after',
      `
Subscriptions to what none of the files publishes are remarked on, on stderr.

Example:
  $ holdline asyncapi config/*.yaml > events.yaml`,
    )
    .action(async (files: string[], options: { json: boolean }) => {
      const [{ formatConfigError, loadConfig }, { describeEvents }, { writeYaml }] = await Promise.all([
        import('../config/load.ts'),
        import('./event-document.ts'),
        import('../config/document.ts'),
      ]);
      const loaded = files.map((file) => loadConfig(file, process.env));
      const errors = loaded.flatMap((result) => (result.ok ? [] : result.errors));
      if (errors.length > 0) throw new InvalidConfiguration(errors.map(formatConfigError));
      const configs = loaded.flatMap((result) => (result.ok ? [result.config] : []));
      const { document, remarks } = describeEvents(configs);
      if (options.json) printJson(document);
      else print(writeYaml(document).trimEnd());
      for (const text of remarks) remark(text);
    });
}
