import { access } from 'node:fs/promises';
import { Option, type Command } from 'commander';
import type { Broker } from '../broker/port.ts';
import type { BrokerConfig } from '../config/config.ts';
import { CommandFailed, InvalidConfiguration, WrongUsage } from './failure.ts';

/** How a command finds the broker. */
export interface BrokerOptions {
  readonly config?: string;
  readonly broker?: string;
}

/** Whose inboxes the answers go to: those of the user that `holdline permissions` makes for the command line. */
const OPERATOR = 'operator';

/** How long a command waits for the connection, ms: a person is waiting too. */
const connectLimit = 5000;
const closeLimit = 1000;

/** Adds `--config` and `--broker`. */
export function withBrokerOptions(command: Command): Command {
  return command
    .addOption(new Option('--config <file>', 'find the broker by a sidecar’s configuration file').conflicts('broker'))
    .addOption(new Option('--broker <url>', 'find the broker by its URL: nats://host:4222 or sqlite:./file.db'));
}

/**
 * Connects, lets `use` work with the broker, and closes. It also gets where traces are looked at, if the file says so.
 * @throws {WrongUsage} neither option, or not a broker's URL
 * @throws {InvalidConfiguration}
 * @throws {CommandFailed} the broker cannot be reached
 */
export async function withBroker<T>(
  options: BrokerOptions,
  use: (broker: Broker, traceLink: string | undefined) => Promise<T>,
): Promise<T> {
  const { config, traceLink } = await brokerOf(options);
  if (config.kind === 'sqlite') await mustExist(config.file);
  const [{ openBroker }, { newInstanceTag }] = await Promise.all([
    import('../broker/open.ts'),
    import('../model/call-id.ts'),
  ]);
  let lastTrouble: Error | undefined;
  const report = (error: Error) => {
    lastTrouble = error;
  };
  const broker = await openBroker({ config, service: OPERATOR, instance: newInstanceTag(), report });
  try {
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), connectLimit);
    await broker.start(limit.signal);
    clearTimeout(timer);
    if (!broker.status.connected) {
      const why = broker.status.detail ?? lastTrouble?.message ?? 'no answer';
      throw new CommandFailed(`cannot reach the broker at ${where(config)} within ${connectLimit / 1000} s: ${why}`);
    }
    return await use(broker, traceLink);
  } finally {
    await broker.close(closeLimit);
  }
}

async function brokerOf(options: BrokerOptions): Promise<{ config: BrokerConfig; traceLink?: string | undefined }> {
  if (options.config !== undefined) {
    const { formatConfigError, loadConfig } = await import('../config/load.ts');
    const loaded = loadConfig(options.config, process.env);
    if (!loaded.ok) throw new InvalidConfiguration(loaded.errors.map(formatConfigError));
    return { config: loaded.config.broker, traceLink: loaded.config.telemetry.traceLink };
  }
  if (options.broker === undefined) throw new WrongUsage('say which broker: --config FILE or --broker URL');
  const [{ brokerFromUrl }, { NotationError }] = await Promise.all([
    import('../config/broker.ts'),
    import('../config/notation.ts'),
  ]);
  try {
    return { config: brokerFromUrl(options.broker, process.cwd()) };
  } catch (error) {
    if (error instanceof NotationError) throw new WrongUsage(`--broker: ${error.message}`);
    throw error;
  }
}

/** A mistyped path would otherwise become an empty log in which nothing is found. */
async function mustExist(file: string): Promise<void> {
  try {
    await access(file);
  } catch (cause) {
    throw new CommandFailed(`there is no broker file ${file}`, { cause });
  }
}

/** For messages: without users and passwords. */
function where(config: BrokerConfig): string {
  if (config.kind === 'sqlite') return config.file;
  return config.servers.map((server) => new URL(server).host).join(', ');
}
