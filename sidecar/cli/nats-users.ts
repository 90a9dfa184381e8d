import type { UserPermissions } from '../broker/jetstream/rights.ts';
import type { Dealings } from '../policy/dealings.ts';

/** A user, and what its service's configuration says; without that, it is the command line's. */
export interface DescribedUser extends UserPermissions {
  readonly dealings: Dealings | undefined;
}

/** The environment variable of the server that has a user's password: `my-orders` is `MY_ORDERS_PASSWORD`. */
export function passwordVariable(user: string): string {
  return `${user.toUpperCase().replaceAll('-', '_')}_PASSWORD`;
}

/** The users as a part of a nats-server configuration, with comments that say what these permissions cannot keep apart. */
export function natsUsers(
  users: readonly DescribedUser[],
  { provisioned, replicated }: { readonly provisioned: boolean; readonly replicated: boolean },
): string {
  return [
    '# Made by `holdline permissions`; make it anew when a route, an inbound service or a subscription changes.',
    '# Passwords are environment variables of nats-server: letters and digits, beginning with a letter.',
    '#',
    '# What these permissions do not keep apart:',
    '# - Callees of one caller: a response is stored under its caller and its call id, so any of them may read what the others',
    '#   answered and remove large answers, and who knows the id of an open call may answer it in the place of another.',
    '# - Callers of one callee: they may take calls back, and so may delete calls and large bodies of each other that wait there,',
    '#   and read and write the records of attempts.',
    '# - Dead letters: who may take its own off the list may take off others.',
    '# - Subscribers: each may read every broadcast event.',
    ...(replicated
      ? [
          '# - On replicated streams a look that decides something asks the leader, which no permission can limit to subjects:',
          '#   who may read a part of such a stream may read all of it (STREAM.MSG.GET below).',
        ]
      : []),
    ...(provisioned
      ? ['# Streams and consumers must exist: `holdline permissions --provisioned --json` lists them.']
      : [
          '# - Who makes a stream or a consumer chooses its settings, with which messages can be copied to where its user may not',
          '#   publish. So these users keep mistakes apart, and not attackers: for that see --provisioned.',
        ]),
    'authorization {',
    '  users = [',
    ...users.flatMap((user) => describe(user).map((line) => `    ${line}`)),
    '  ]',
    '}',
  ].join('\n');
}

function describe({ user, publish, subscribe, answersQuestions, dealings }: DescribedUser): string[] {
  return [
    ...(dealings === undefined
      ? ['# The command line: calls, dead-letters, subscriptions, topology.']
      : summary(dealings)),
    '{',
    `  user: "${user}", password: $${passwordVariable(user)}`,
    '  permissions: {',
    ...allow('publish', publish),
    ...allow('subscribe', subscribe),
    ...(answersQuestions ? ['    allow_responses: { max: 1, expires: "5s" }'] : []),
    '  }',
    '}',
  ];
}

function allow(kind: 'publish' | 'subscribe', subjects: readonly string[]): string[] {
  return [`    ${kind}: { allow: [`, ...subjects.map((subject) => `      ${JSON.stringify(subject)}`), '    ] }'];
}

function summary({ service, calls, answers, publishes, subscribes, open }: Dealings): string[] {
  const parts = [
    list(
      'calls',
      calls.map(({ callee }) => callee),
    ),
    ...answers.map(({ service: answered, callers }) =>
      list(
        answered === service ? 'answers' : `answers as ${answered} to`,
        callers.map(({ caller }) => caller),
        'nobody so far',
      ),
    ),
    list('publishes', publishes),
    list(
      'subscribes to',
      subscribes.map(({ topic }) => topic),
    ),
  ].filter((part) => part !== '');
  return [
    `# ${service}: ${parts.length === 0 ? 'does nothing on the broker' : parts.join('; ')}.`,
    ...open.map(
      (route) =>
        `# Its route ${route} names no service and no exact host: it may call any service with an inbound in these files that ` +
        'fits its pattern, and no other.',
    ),
  ];
}

function list(what: string, names: readonly string[], none = ''): string {
  if (names.length > 0) return `${what} ${names.join(', ')}`;
  return none === '' ? '' : `${what} ${none}`;
}
