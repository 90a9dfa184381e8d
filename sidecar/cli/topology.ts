import { Option, type Command } from 'commander';
import { parseDuration } from './arguments.ts';
import { withBroker, withBrokerOptions, type BrokerOptions } from './broker-access.ts';
import { topologyMermaid, topologyTable } from './chart.ts';
import { print, printJson, remark } from './print.ts';
import { topologyJson } from '../admin/listing.ts';

interface TopologyOptions extends BrokerOptions {
  readonly format: 'text' | 'mermaid' | 'json';
  readonly json?: true;
  readonly window: number;
}

/** `holdline topology`: who calls whom, from the events. */
export function register(program: Command): void {
  withBrokerOptions(program.command('topology'))
    .description('who calls whom, and how that goes, from the events on the broker')
    .addOption(new Option('--format <format>', 'how to print it').choices(['text', 'mermaid', 'json']).default('text'))
    .option('--json', 'the same as --format json')
    .addOption(
      new Option('--window <duration>', 'rates, latencies and errors are of calls that finished in it')
        .argParser(parseDuration)
        .default(15 * 60_000, '15m'),
    )
    .addHelpText(
      'after',
      `
Examples:
  $ holdline topology --broker nats://127.0.0.1:4222
  $ holdline topology --config orders.yaml --format mermaid --window 1h`,
    )
    .action(topology);
}

async function topology(options: TopologyOptions): Promise<void> {
  const found = await withBroker(options, ({ operator }) => operator.topology(options.window));
  const format = options.json ? 'json' : options.format;
  if (format === 'json') printJson(topologyJson(found));
  else if (found.edges.length === 0 && format === 'text') remark('no calls');
  else print(format === 'mermaid' ? topologyMermaid(found, Date.now()) : topologyTable(found, Date.now()));
}
