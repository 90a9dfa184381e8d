import { Option, type Command } from 'commander';
import type { DeadLetter, DeadLetterQuery, OperatorLog } from '../broker/port.ts';
import { CommandFailed, exitCodes, WrongUsage } from './failure.ts';
import { isCallId } from '../model/call-id.ts';
import { deadLetterReasons, type DeadLetterReason } from '../model/call.ts';
import { parseRate, withJson, withListOptions } from './arguments.ts';
import { withBroker, withBrokerOptions, type BrokerOptions } from './broker-access.ts';
import { deadLetterJson, pathOf } from '../admin/listing.ts';
import { paced } from './paced.ts';
import { moment, print, printJson, remark, table } from './print.ts';
import { tellDeadLetter } from './story.ts';

interface Filter {
  readonly service?: string;
  readonly route?: string;
  readonly reason?: DeadLetterReason;
}

interface ListOptions extends BrokerOptions, Filter {
  readonly json?: true;
  readonly limit: number;
}

type SomeOptions = BrokerOptions & { readonly json?: true };

interface ReplayOptions extends SomeOptions, Filter {
  readonly all?: true;
  readonly rate?: { readonly count: number; readonly perMs: number };
  readonly dryRun?: true;
}

/** `holdline dead-letters`: calls that Holdline gave up on. */
export function register(program: Command): void {
  const letters = program.command('dead-letters').description('list, show, replay and discard dead letters');

  withFilter(withListOptions(withBrokerOptions(letters.command('list'))))
    .description('list dead letters, newest first')
    .addHelpText(
      'after',
      `
Examples:
  $ holdline dead-letters list --broker nats://127.0.0.1:4222
  $ holdline dead-letters list --config orders.yaml --reason outcome-unknown --json`,
    )
    .action(list);

  withJson(withBrokerOptions(letters.command('show')))
    .description('show one dead letter with every attempt')
    .argument('<id>', 'the call id')
    .addHelpText(
      'after',
      `
Example:
  $ holdline dead-letters show 01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10 --config orders.yaml`,
    )
    .action(show);

  withFilter(withJson(withBrokerOptions(letters.command('replay'))))
    .description('carry dead letters out after all: each starts another round of attempts')
    .argument('[id...]', 'call ids')
    .option('--all', 'every dead letter, or all that the filters leave')
    .addOption(new Option('--rate <n/s>', 'so many at most, such as 10/s or 30/m').argParser(parseRate))
    .option('--dry-run', 'only say what would be replayed')
    .addHelpText(
      'after',
      `
A call that may have been carried out already (outcome-unknown) is sent again: look at it first.

Examples:
  $ holdline dead-letters replay 01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10 --config orders.yaml
  $ holdline dead-letters replay --all --service payments --rate 10/s --dry-run --config orders.yaml`,
    )
    .action(replay);

  withJson(withBrokerOptions(letters.command('discard')))
    .description('give dead letters up for good; frees their keys')
    .argument('<id...>', 'call ids')
    .addHelpText(
      'after',
      `
Example:
  $ holdline dead-letters discard 01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10 --config orders.yaml`,
    )
    .action(discard);
}

function withFilter(command: Command): Command {
  return command
    .option('--service <name>', 'only calls to this service')
    .option('--route <name>', 'only calls by this route')
    .addOption(new Option('--reason <code>', 'only those that died of this').choices(deadLetterReasons));
}

function query({ service, route, reason }: Filter, limit: number): DeadLetterQuery {
  return {
    limit,
    ...(service !== undefined && { service }),
    ...(route !== undefined && { route }),
    ...(reason !== undefined && { reason }),
  };
}

async function list(options: ListOptions): Promise<void> {
  const { limit, json } = options;
  const letters = await withBroker(options, ({ operator }) => operator.deadLetters(query(options, limit)));
  if (json) printJson({ deadLetters: letters.map(deadLetterJson) });
  else if (letters.length === 0) remark('no dead letters');
  else print(deadLetterTable(letters));
  if (!json && letters.length === limit) remark(`the newest ${limit}; --limit N shows more`);
}

/** The list for people. */
function deadLetterTable(letters: readonly DeadLetter[]): string {
  return table(
    ['ID', 'REASON', 'STATUS', 'CALL', 'FROM', 'TO', 'ROUTE', 'ATTEMPTS', 'DIED (UTC)'],
    letters.map(({ call, reason, status, diedAt, history }) => [
      call.id,
      reason,
      status,
      `${call.method} ${pathOf(call.target)}`,
      call.caller,
      call.service,
      call.route,
      history.length,
      moment(diedAt),
    ]),
  );
}

async function show(id: string, options: SomeOptions): Promise<void> {
  const letter = await withBroker(options, async ({ operator }) =>
    isCallId(id) ? operator.deadLetter(id) : undefined,
  );
  if (letter === undefined) throw new CommandFailed(unknownLetter(id));
  if (options.json) printJson(deadLetterJson(letter));
  else print(tellDeadLetter(letter));
}

async function replay(ids: readonly string[], options: ReplayOptions): Promise<void> {
  const { service, route, reason, all, rate, dryRun, json } = options;
  const filtered = service !== undefined || route !== undefined || reason !== undefined;
  if (ids.length > 0 && (all || filtered)) throw new WrongUsage('name call ids, or say --all with filters; not both');
  if (ids.length === 0 && !all && !filtered) throw new WrongUsage('say what to replay: call ids, or --all');

  await withBroker(options, async ({ operator }) => {
    const chosen = ids.length > 0 ? unique(ids) : await everyId(operator, options);
    const { done, unknown } = await paced(chosen, dryRun ? undefined : rate, async (id) => {
      if (!isCallId(id)) return false;
      const happened = dryRun
        ? (await operator.deadLetter(id)) !== undefined
        : (await operator.replay(id)) === 'replayed';
      if (happened && !json) print(`${dryRun ? 'would replay' : 'replayed'} ${id}`);
      return happened;
    });
    if (json) printJson(dryRun ? { wouldReplay: done, unknown } : { replayed: done, unknown });
    else remark(`${dryRun ? 'would replay' : 'replayed'} ${done.length} of ${chosen.length}`);
    // In a list that was taken from the broker, one that is gone by now was replayed by someone else.
    if (ids.length > 0) reportUnknown(unknown);
  });
}

async function discard(ids: readonly string[], options: SomeOptions): Promise<void> {
  await withBroker(options, async ({ operator }) => {
    const { done, unknown } = await paced(unique(ids), undefined, async (id) => {
      const happened = isCallId(id) && (await operator.discard(id)) === 'discarded';
      if (happened && !options.json) print(`discarded ${id}`);
      return happened;
    });
    if (options.json) printJson({ discarded: done, unknown });
    reportUnknown(unknown);
  });
}

/**
 * The ids on the list now, oldest first. Taken before the first replay: a letter that dies again comes back
 * to the list, and a walk over the living list would never end.
 */
async function everyId(operator: OperatorLog, filter: Filter): Promise<string[]> {
  for (let limit = 10_000; ; limit *= 10) {
    const letters = await operator.deadLetters(query(filter, limit));
    if (letters.length < limit) return letters.map(({ call }) => call.id).toReversed();
  }
}

function reportUnknown(unknown: readonly string[]): void {
  for (const id of unknown) remark(`holdline: ${unknownLetter(id)}`);
  if (unknown.length > 0) process.exitCode = exitCodes.failed;
}

function unknownLetter(id: string): string {
  return `there is no dead letter ${id}`;
}

function unique(ids: readonly string[]): string[] {
  return [...new Set(ids)];
}
