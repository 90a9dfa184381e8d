import { spawn, type ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { stringify } from 'yaml';

const root = resolve(import.meta.dirname, '../..');
/** How long anything may take to come up on a slow machine, ms. */
const PATIENCE = 30_000;

/** One process of the play, which can be killed and started again on the same ports. */
export class Actor {
  readonly name: string;
  readonly #script: string;
  readonly #args: readonly string[];
  readonly #health: string;
  readonly #log: string;
  #env: Record<string, string>;
  #child: ChildProcess | undefined;

  constructor(options: {
    name: string;
    script: string;
    args?: readonly string[];
    env: Record<string, string>;
    health: string;
    log: string;
  }) {
    this.name = options.name;
    this.#script = options.script;
    this.#args = options.args ?? [];
    this.#env = options.env;
    this.#health = options.health;
    this.#log = options.log;
  }

  /** Resolves when it answers its health check. */
  async start(env: Record<string, string> = {}): Promise<void> {
    this.#env = { ...this.#env, ...env };
    const child = spawn(process.execPath, [join(root, this.#script), ...this.#args], {
      env: { ...process.env, ...this.#env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const log = createWriteStream(this.#log, { flags: 'a' });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log);
    this.#child = child;
    await eventually(`${this.name} to be ready (its log: ${this.#log})`, async () => {
      if (child.exitCode !== null)
        throw new Error(`${this.name} ended with exit code ${child.exitCode}; its log: ${this.#log}`);
      return (await fetch(this.#health)).ok;
    });
  }

  /** kill -9 */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM');
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

/** Everything that the story needs, on free loopback ports and in one temporary folder. */
export interface Stage {
  readonly orders: Actor;
  readonly payments: Actor;
  readonly notifications: Actor;
  readonly ordersSidecar: Actor;
  readonly paymentsSidecar: Actor;
  readonly notificationsSidecar: Actor;
  readonly broker: string;
  readonly urls: {
    readonly orders: string;
    readonly payments: string;
    readonly notifications: string;
    readonly ordersAdmin: string;
    readonly paymentsAdmin: string;
  };
  readonly configs: { readonly orders: string; readonly payments: string };
  /** Stops all processes and removes the folder. */
  strike(): Promise<void>;
}

/** @param broker URL of a broker; without one, an embedded one in the temporary folder */
export async function setStage(broker: string | undefined): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'holdline-demo-'));
  const addresses = (await freePorts(8)).map((port) => `127.0.0.1:${port}`);
  const next = () => addresses.pop()!;
  const [orders, payments, notifications] = [next(), next(), next()];
  const [toPayments, toNotifications] = [next(), next()];
  const [ordersAdmin, paymentsAdmin, notificationsAdmin] = [next(), next(), next()];
  const url = broker ?? `sqlite:${join(folder, 'holdline.db')}`;
  // A name of its own keeps the play apart from services of the same names that live on this broker.
  const brokerConfig = { url, namespace: `demo-${randomBytes(3).toString('hex')}` };
  const fileOf = (service: string) => join(folder, `${service}.yaml`);
  const configs = { orders: fileOf('orders'), payments: fileOf('payments') };
  await writeFile(
    configs.orders,
    stringify({
      service: 'orders',
      broker: brokerConfig,
      outbound: {
        ports: { [toPayments]: 'payments', [toNotifications]: 'notifications' },
        routes: [
          {
            name: 'charge',
            match: { host: 'payments', method: 'POST', path: '/charges' },
            hold: '30s',
            idempotent: true,
          },
          { name: 'order-paid', match: { host: 'notifications' }, mode: 'broadcast', topic: 'order.paid' },
        ],
      },
      admin: { listen: ordersAdmin },
    }),
  );
  await writeFile(
    configs.payments,
    stringify({
      service: 'payments',
      broker: brokerConfig,
      inbound: [{ url: `http://${payments}`, health: { path: '/healthz', interval: '250ms' } }],
      admin: { listen: paymentsAdmin },
    }),
  );
  const notificationsConfig = fileOf('notifications');
  await writeFile(
    notificationsConfig,
    stringify({
      service: 'notifications',
      broker: brokerConfig,
      inbound: [{ url: `http://${notifications}`, health: { path: '/healthz', interval: '250ms' } }],
      subscribe: [{ name: 'mail-on-paid', topic: 'order.paid', to: 'POST /hooks/order-paid' }],
      admin: { listen: notificationsAdmin },
    }),
  );
  const sidecar = (name: string, config: string, admin: string) =>
    new Actor({
      name,
      script: 'sidecar/main.ts',
      args: ['run', '--config', config],
      env: {},
      health: `http://${admin}/ready`,
      log: join(folder, `${name}.log`.replaceAll(/[' ]+/g, '-')),
    });
  const service = (name: string, address: string, env: Record<string, string>) =>
    new Actor({
      name,
      script: `sample-services/${name}/server.ts`,
      env: { HOST: '127.0.0.1', PORT: address.split(':')[1]!, ...env },
      health: `http://${address}/healthz`,
      log: join(folder, `${name}.log`),
    });
  const stage: Stage = {
    orders: service('orders', orders, {
      PAYMENTS_URL: `http://${toPayments}`,
      NOTIFICATIONS_URL: `http://${toNotifications}`,
    }),
    payments: service('payments', payments, {}),
    notifications: service('notifications', notifications, {}),
    ordersSidecar: sidecar("orders' sidecar", configs.orders, ordersAdmin),
    paymentsSidecar: sidecar("payments' sidecar", configs.payments, paymentsAdmin),
    notificationsSidecar: sidecar("notifications' sidecar", notificationsConfig, notificationsAdmin),
    broker: url,
    urls: {
      orders: `http://${orders}`,
      payments: `http://${payments}`,
      notifications: `http://${notifications}`,
      ordersAdmin: `http://${ordersAdmin}`,
      paymentsAdmin: `http://${paymentsAdmin}`,
    },
    configs,
    async strike() {
      const { orders: taking, payments: charging, notifications: telling } = stage;
      const sidecars = [stage.ordersSidecar, stage.paymentsSidecar, stage.notificationsSidecar];
      const actors = [taking, charging, telling, ...sidecars];
      await Promise.all(actors.map((actor) => actor.stop()));
      await rm(folder, { recursive: true, force: true });
    },
  };
  return stage;
}

async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}

/** Asks until the answer is yes. @throws {Error} after half a minute, naming what was awaited */
export async function eventually(what: string, ask: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + PATIENCE;
  let last = '';
  while (performance.now() < end) {
    try {
      if (await ask()) return;
    } catch (error) {
      last = (error as Error).message;
      if (last.includes('ended with exit code')) throw error;
    }
    await pause(50);
  }
  throw new Error(`waited in vain for ${what}${last === '' ? '' : ` (${last})`}`);
}
