import type { Command } from 'commander';
import type { ConfigError, LoadResult } from '../config/load.ts';
import { InvalidConfiguration } from './failure.ts';
import { print, printJson } from './print.ts';

interface PermissionsOptions {
  readonly provisioned: boolean;
  readonly json: boolean;
}

/** `holdline permissions`: what each service's user may do on NATS. */
export function register(program: Command): void {
  program
    .command('permissions')
    .description('least-privilege NATS users, from the configurations of all services')
    .argument('<file...>', 'the configuration files (YAML) of all services on one broker')
    .option('--provisioned', 'streams and consumers exist already: nobody gets the right to make them', false)
    .option('--json', 'print JSON, with the streams and consumers to make for --provisioned', false)
    .addHelpText(
      'after',
      `
Prints a part of a nats-server configuration: one user for each service, and one for this command line (operator).
Passwords are environment variables of the server: ORDERS_PASSWORD for the service orders.

Examples:
  $ holdline permissions config/*.yaml > users.conf
  $ holdline permissions --provisioned --json config/*.yaml`,
    )
    .action(permissions);
}

async function permissions(files: string[], { provisioned, json }: PermissionsOptions): Promise<void> {
  const [
    { formatConfigError, loadConfig },
    { parseConfig, positions },
    { OPERATOR, Permissions },
    { dealingsOf },
    { natsUsers, passwordVariable },
  ] = await Promise.all([
    import('../config/load.ts'),
    import('../config/document.ts'),
    import('../broker/jetstream/permissions.ts'),
    import('../policy/dealings.ts'),
    import('./nats-users.ts'),
  ]);

  const loaded = files.map((file) => ({ file, result: loadConfig(file, process.env) }));
  const errors: ConfigError[] = loaded.flatMap(({ result }) => (result.ok ? [] : result.errors));
  const good = loaded.flatMap(({ file, result }) => (result.ok ? [{ file, ...result }] : []));

  function complain({ file, text }: Good, path: readonly string[], message: string): void {
    const { start } = parseConfig(text).range(path);
    errors.push({ file, ...positions(text)(start), path: path.join('.'), message });
  }
  for (const each of good) {
    const { service } = each.config;
    if (service === OPERATOR) {
      complain(each, ['service'], `${service} is the user of the command line; expected another name`);
    }
    if (each.config.broker.kind === 'sqlite') {
      complain(each, ['broker'], 'sqlite has no users; expected a nats:// or tls:// broker');
    }
  }
  const brokers = good.flatMap((each) =>
    each.config.broker.kind === 'nats' ? [{ ...each, broker: each.config.broker }] : [],
  );
  const [first, ...others] = brokers;
  for (const other of others) {
    const { namespace } = first!.broker;
    if (other.broker.namespace !== namespace) {
      complain(
        other,
        ['broker', 'namespace'],
        `another one than in ${first!.file}; expected ${namespace} in all files`,
      );
    }
    if (provisioned && settingsOf(other.broker) !== settingsOf(first!.broker)) {
      complain(other, ['broker'], `other replicas or retention than in ${first!.file}; expected the same in all files`);
    }
  }
  if (errors.length > 0 || first === undefined) throw new InvalidConfiguration(errors.map(formatConfigError));

  const replicas = Math.max(...brokers.map(({ broker }) => broker.replicas));
  const all = dealingsOf(good.map(({ config }) => config));
  const rights = new Permissions({ config: { ...first.broker, replicas }, provisioned });
  const users = [
    ...all.map((dealings) => ({ ...rights.sidecar(dealings, all), dealings })),
    { ...rights.operator(all), dealings: undefined },
  ];
  if (json) {
    printJson({
      namespace: first.broker.namespace,
      provisioned,
      users: users.map(({ dealings, ...user }) => ({
        ...user,
        passwordVariable: passwordVariable(user.user),
        openRoutes: dealings?.open ?? [],
      })),
      ...rights.provisions(all),
    });
  } else {
    print(natsUsers(users, { provisioned, replicated: replicas > 1 }));
  }
}

type Good = Extract<LoadResult, { ok: true }> & { readonly file: string };

/** What the settings of streams are made of. */
function settingsOf({ replicas, retention }: { replicas: number; retention: object }): string {
  return JSON.stringify({ replicas, retention });
}
