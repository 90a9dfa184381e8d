import type { Command } from 'commander';
import type { SubscriptionListing } from '../broker/subscriptions.ts';
import { subscriptionJson } from '../admin/listing.ts';
import { withJson } from './arguments.ts';
import { withBroker, withBrokerOptions, type BrokerOptions } from './broker-access.ts';
import { CommandFailed, WrongUsage } from './failure.ts';
import { moment, print, printJson, remark, table } from './print.ts';

interface Options extends BrokerOptions {
  readonly json?: true;
  readonly service?: string;
}

/** `holdline subscriptions`: what the broker remembers of subscriptions. */
export function register(program: Command): void {
  const subscriptions = program.command('subscriptions').description('list, remove and resume subscriptions');

  withService(withJson(withBrokerOptions(subscriptions.command('list'))))
    .description('list durable subscriptions, with what waits for each')
    .addHelpText(
      'after',
      `
Example:
  $ holdline subscriptions list --broker nats://127.0.0.1:4222`,
    )
    .action(list);

  withService(withJson(withBrokerOptions(subscriptions.command('remove'))))
    .description('forget a subscription that left the configuration, and what waits for it')
    .argument('<name>', 'the name of the subscription')
    .addHelpText(
      'after',
      `
What waits for it is not delivered any more; its dead letters stay. A sidecar that still has the subscription in
its configuration makes it anew.

Example:
  $ holdline subscriptions remove mail-on-paid --service notifications --broker nats://127.0.0.1:4222`,
    )
    .action(remove);

  withService(withJson(withBrokerOptions(subscriptions.command('resume'))))
    .description('let a subscription go on that its subscriber has ended (410)')
    .argument('<name>', 'the name of the subscription')
    .addHelpText(
      'after',
      `
Example:
  $ holdline subscriptions resume mail-on-paid --config notifications.yaml`,
    )
    .action(resume);
}

function withService(command: Command): Command {
  return command.option('--service <name>', 'only subscriptions of this service');
}

async function list(options: Options): Promise<void> {
  const found = await withBroker(options, ({ operator }) => operator.subscriptions.list(options.service));
  if (options.json) printJson({ subscriptions: found.map(subscriptionJson) });
  else if (found.length === 0) remark('no subscriptions');
  else print(subscriptionTable(found));
}

function subscriptionTable(found: readonly SubscriptionListing[]): string {
  return table(
    ['SERVICE', 'NAME', 'TOPIC', 'STATE', 'WAITING', 'OLDEST (UTC)', 'DEAD LETTERS'],
    found.map(({ service, subscription, topic, state, waiting, oldest, deadLetters }) => [
      service,
      subscription,
      topic,
      state,
      waiting,
      oldest === undefined ? undefined : moment(oldest),
      deadLetters,
    ]),
  );
}

async function remove(name: string, options: Options): Promise<void> {
  const done = await withBroker(options, async ({ operator: { subscriptions } }) => {
    const found = find(await subscriptions.list(options.service), name);
    const result = await subscriptions.remove(found);
    if (result === 'in-use') {
      throw new CommandFailed(
        `a sidecar of ${found.service} takes ${name}: take it out of the configuration first, and let the sidecars reload`,
      );
    }
    if (result === 'unknown') throw new CommandFailed(unknown(name));
    return { ...found, dropped: found.waiting };
  });
  const { service, dropped, deadLetters } = done;
  if (options.json) printJson({ service, name, state: 'removed', dropped });
  else print(`removed ${service}/${name}; ${dropped} events that it had not had are not delivered to it any more`);
  if (deadLetters > 0) remark(`its ${deadLetters} dead letters stay: holdline dead-letters list --service ${service}`);
}

async function resume(name: string, options: Options): Promise<void> {
  const { found, result } = await withBroker(options, async ({ operator: { subscriptions } }) => {
    const one = find(await subscriptions.list(options.service), name);
    return { found: one, result: await subscriptions.resume(one) };
  });
  if (result === 'unknown') throw new CommandFailed(unknown(name));
  if (options.json) printJson({ service: found.service, name, state: 'active' });
  else if (result === 'active') print(`${found.service}/${name} was not ended`);
  else print(`resumed ${found.service}/${name}; ${found.waiting} events wait for it`);
}

/** @throws {CommandFailed} there is none; {WrongUsage} the name alone does not say which */
function find(listed: readonly SubscriptionListing[], name: string): SubscriptionListing {
  const [found, ...others] = listed.filter(({ subscription }) => subscription === name);
  if (found === undefined) throw new CommandFailed(unknown(name));
  if (others.length > 0) {
    const services = [found, ...others].map(({ service }) => service).join(', ');
    throw new WrongUsage(`several services have a subscription ${name}: say which with --service (${services})`);
  }
  return found;
}

function unknown(name: string): string {
  return `the broker knows no subscription ${name}`;
}
