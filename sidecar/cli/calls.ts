import { Option, type Command } from 'commander';
import type { CallListing, CallState } from '../broker/port.ts';
import { CommandFailed } from './failure.ts';
import { isCallId } from '../model/call-id.ts';
import { withJson, withListOptions } from './arguments.ts';
import { withBroker, withBrokerOptions, type BrokerOptions } from './broker-access.ts';
import { callJson, pathOf, storyJson } from '../admin/listing.ts';
import { moment, print, printJson, remark, span, table } from './print.ts';
import { tellCall } from './story.ts';

const states = ['waiting', 'attempting', 'answered', 'dead', 'cancelled'] as const satisfies CallState[];

interface ListOptions extends BrokerOptions {
  readonly json?: true;
  readonly limit: number;
  readonly service?: string;
  readonly caller?: string;
  readonly state?: CallState;
}

type OneOptions = BrokerOptions & { readonly json?: true };

/** `holdline calls`: what the broker knows of calls. */
export function register(program: Command): void {
  const calls = program.command('calls').description('list, show and cancel calls');

  withListOptions(withBrokerOptions(calls.command('list')))
    .description('list calls, newest first')
    .option('--service <name>', 'only calls to this service')
    .option('--caller <name>', 'only calls made by this service')
    .addOption(new Option('--state <state>', 'only calls in this state').choices(states))
    .addHelpText(
      'after',
      `
Examples:
  $ holdline calls list --broker nats://127.0.0.1:4222
  $ holdline calls list --config orders.yaml --state waiting --limit 500 --json`,
    )
    .action(list);

  withJson(withBrokerOptions(calls.command('show')))
    .description('tell the whole story of one call')
    .argument('<id>', 'the call id')
    .addHelpText(
      'after',
      `
Example:
  $ holdline calls show 01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10 --config orders.yaml`,
    )
    .action(show);

  withJson(withBrokerOptions(calls.command('cancel')))
    .description('cancel a call of which nothing has been sent to the callee yet')
    .argument('<id>', 'the call id')
    .addHelpText(
      'after',
      `
Example:
  $ holdline calls cancel 01980c2e-5d2f-7a41-8c5e-2f1f0c3b9d10 --config orders.yaml`,
    )
    .action(cancel);
}

async function list(options: ListOptions): Promise<void> {
  const { limit, service, caller, state, json } = options;
  const listings = await withBroker(options, ({ operator }) =>
    operator.calls({
      limit,
      ...(service !== undefined && { service }),
      ...(caller !== undefined && { caller }),
      ...(state !== undefined && { state }),
    }),
  );
  if (json) printJson({ calls: listings.map(callJson) });
  else if (listings.length === 0) remark('no calls');
  else print(callTable(listings));
  if (!json && listings.length === limit) remark(`the newest ${limit}; --limit N shows more`);
}

/** The list for people. */
function callTable(listings: readonly CallListing[]): string {
  return table(
    ['ID', 'STATE', 'STATUS', 'CALL', 'FROM', 'TO', 'ROUTE', 'ATTEMPTS', 'ACCEPTED (UTC)', 'TOOK'],
    listings.map(({ call, state, status, attempts, finishedAt }) => [
      call.id,
      state,
      status,
      `${call.method} ${pathOf(call.target)}`,
      call.caller,
      call.service,
      call.route,
      attempts,
      moment(call.acceptedAt),
      finishedAt === undefined ? undefined : span(finishedAt - call.acceptedAt),
    ]),
  );
}

async function show(id: string, options: OneOptions): Promise<void> {
  const [story, traceLink] = await withBroker(options, async ({ operator }, link) => [
    isCallId(id) ? await operator.call(id) : undefined,
    link,
  ]);
  if (story === undefined) throw new CommandFailed(unknownCall(id));
  if (options.json) printJson(storyJson(story, traceLink));
  else print(tellCall(story, Date.now(), traceLink));
}

async function cancel(id: string, options: OneOptions): Promise<void> {
  const result = await withBroker(options, async ({ operator }) => (isCallId(id) ? operator.cancel(id) : 'unknown'));
  switch (result) {
    case 'withdrawn':
      if (options.json) printJson({ id, state: 'cancelled' });
      else print(`cancelled ${id}`);
      return;
    case 'started':
      throw new CommandFailed(
        `${id} cannot be cancelled: it has been sent to the callee, which may be carrying it out`,
      );
    case 'finished':
      throw new CommandFailed(`${id} cannot be cancelled: it has finished already`);
    case 'unknown':
      throw new CommandFailed(unknownCall(id));
    default:
      result satisfies never;
  }
}

function unknownCall(id: string): string {
  return `the broker knows no call ${id}`;
}
