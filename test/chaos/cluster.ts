import { appendFileSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import { Subjects } from '../../sidecar/broker/jetstream/subjects.ts';
import { eventually } from '../support/eventually.ts';
import { freePort } from '../support/free-port.ts';
import { type NatsServer, startNatsServer } from '../support/nats-server.ts';
import { clusterServer } from '../support/server-matrix.ts';
import type { BrokerUnderTest } from './broker.ts';
import { diagnose } from './diagnosis.ts';
import type { Victim } from './part.ts';

const size = 3;
/** A node that leads is looked for this often and this long, ms: without a leader there is nothing to kill. */
const lookAgain = 250;
const looks = 40;

/** Three servers that keep three copies of each stream. */
export async function clusterBroker(folder: string): Promise<BrokerUnderTest> {
  const { bin, version } = await clusterServer();
  const routePorts: number[] = [];
  for (let number = 1; number <= size; number++) routePorts.push(await freePort());
  const routes = routePorts.map((port) => `nats://127.0.0.1:${port}`);
  mkdirSync(join(folder, 'logs'), { recursive: true });
  const nodes: Node[] = [];
  for (const [index, port] of routePorts.entries()) {
    const name = `nats-${index + 1}`;
    const server = await startNatsServer({
      bin,
      storeDir: join(folder, name),
      // A client that learns of the other servers would go past the relays that faults are played on.
      config: `server_name: ${name}
cluster { name: chaos, listen: "127.0.0.1:${port}", no_advertise: true, routes: ${JSON.stringify(routes)} }`,
    });
    nodes.push(new Node(name, server, join(folder, 'logs', `${name}.log`)));
  }
  const urls = nodes.map(({ url }) => url);
  await eventually(() => leaderOf(urls, undefined), { what: 'the cluster to have a leader', timeoutMs: 60_000 });
  const leading = async () => {
    const name = await leader(urls);
    return nodes.find((node) => node.name === name) ?? nodes.find(({ running }) => running);
  };
  return {
    engine: 'cluster',
    version,
    ports: nodes.map(({ port }) => port),
    url: urls.join(','),
    replicas: size,
    servers: nodes,
    leading,
    lose: async () => (await leading())?.lose(),
    diagnose: () => diagnose(urls.join(',')),
    unfit: { lock: 'there is no database file', full: 'the nodes have no disks of their own' },
    async remove() {
      for (const node of nodes) await node.remove();
    },
  };
}

/** The node that leads the calls, the server's word; undefined where none does for a while. */
async function leader(urls: readonly string[]): Promise<string | undefined> {
  for (let tries = 1; tries <= looks; tries++) {
    try {
      return await leaderOf(urls, new Subjects('holdline').actionStream('payments'));
    } catch {
      // An election, or a node that is away.
      await pause(lookAgain);
    }
  }
  return undefined;
}

/** @param stream whose leader is wanted; undefined: only that the cluster has one @throws Error where there is none */
async function leaderOf(urls: readonly string[], stream: string | undefined): Promise<string | undefined> {
  const connection = await connect({ servers: urls.map((url) => url.replace('nats://', '')), timeout: 2_000 });
  try {
    const manager = await jetstreamManager(connection, { timeout: 2_000 });
    if (stream === undefined) return undefined;
    const { cluster } = await manager.streams.info(stream);
    if (cluster?.leader === undefined) throw new Error(`${stream} has no leader`);
    return cluster.leader;
  } finally {
    await connection.close();
  }
}

class Node implements Victim {
  readonly name: string;
  readonly #server: NatsServer;
  readonly #log: string;
  #lost = false;
  running = true;

  constructor(name: string, server: NatsServer, log: string) {
    this.name = name;
    this.#server = server;
    this.#log = log;
  }

  get url(): string {
    return this.#server.url;
  }

  get port(): number {
    return this.#server.port;
  }

  async kill(): Promise<void> {
    if (!this.running) return;
    await this.#server.kill9();
    this.#ended();
  }

  async stop(): Promise<void> {
    if (!this.running) return;
    await this.#server.stop();
    this.#ended();
  }

  /** Nothing where it runs, or is lost. */
  async start(): Promise<void> {
    if (this.running || this.#lost) return;
    await this.#server.restart();
    this.running = true;
  }

  async pause(): Promise<void> {
    if (this.running) await this.#server.suspend();
  }

  resume(): void {
    if (this.running) this.#server.resume();
  }

  /** Kills it for good, its disk with it. */
  async lose(): Promise<void> {
    this.#lost = true;
    await this.kill();
    rmSync(this.#server.storeDir, { recursive: true, force: true });
  }

  async remove(): Promise<void> {
    if (this.running) this.#keepLog();
    await this.#server[Symbol.asyncDispose]();
  }

  #ended(): void {
    this.running = false;
    this.#keepLog();
  }

  #keepLog(): void {
    appendFileSync(this.#log, this.#server.logs);
  }
}
