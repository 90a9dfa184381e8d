import { execFile } from 'node:child_process';
import { appendFileSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { type NatsServer, startNatsServer } from '../support/nats-server.ts';
import { clusterBroker } from './cluster.ts';
import { diagnose } from './diagnosis.ts';
import type { Victim } from './part.ts';

const run = promisify(execFile);

export type Engine = 'nats' | 'sqlite' | 'cluster';

/** Room for the streams or the file, where the disk is to be filled. */
const diskSize = '192m';

/** The broker as a victim: a server of its own, or one file. */
export interface BrokerUnderTest {
  readonly engine: Engine;
  /** Of the server. */
  readonly version?: string;
  /** The ports of the servers; none for a file. */
  readonly ports: readonly number[];
  /** The URL for tools that no fault is to hit. */
  readonly url: string;
  /** Copies of each stream. */
  readonly replicas?: number;
  /** The server processes; none for a file. */
  readonly servers: readonly Victim[];
  /** Of a cluster: the node that leads the calls; undefined where no node is left. */
  readonly leading?: () => Promise<Victim | undefined>;
  /** Of a cluster: kills the node that leads for good, and its disk with it. */
  readonly lose?: () => Promise<void>;
  /** Holds the write lock of the file; the function returned gives it up. */
  readonly lock?: () => () => void;
  /** Fills the disk; the function returned makes room again. Undefined where no disk of its own can be had. */
  readonly fill?: () => Promise<() => Promise<void>>;
  /** What the broker itself says of what it keeps, for people. */
  readonly diagnose: () => Promise<unknown>;
  /** Why a fault is not possible here. */
  readonly unfit: Readonly<Record<string, string>>;
  remove(): Promise<void>;
}

/** @param ownDisk whether the disk is to be filled: that takes a file system of its own */
export async function startBroker(engine: Engine, folder: string, ownDisk: boolean): Promise<BrokerUnderTest> {
  if (engine === 'cluster') return clusterBroker(folder);
  const store = join(folder, 'store');
  mkdirSync(store, { recursive: true });
  const disk = ownDisk ? await mount(store) : { why: 'not asked for' };
  return engine === 'nats' ? natsBroker(folder, store, disk) : sqliteBroker(store, disk);
}

type Disk = { readonly unmount: () => Promise<void> } | { readonly why: string };

async function natsBroker(folder: string, store: string, disk: Disk): Promise<BrokerUnderTest> {
  const server = await startNatsServer({ storeDir: store });
  const victim = new NatsVictim(server, join(folder, 'logs', 'nats-server.log'));
  const mounted = 'unmount' in disk;
  return {
    engine: 'nats',
    ports: [server.port],
    url: server.url,
    servers: [victim],
    diagnose: () => diagnose(server.url),
    unfit: { lock: 'there is no database file', ...(!mounted && { full: disk.why }) },
    ...(mounted && {
      fill: async () => {
        const empty = await filler(store);
        return async () => {
          await empty();
          // A server that met a full disk has switched JetStream off until it is started again, and 2.9 then
          // often does not end when it is asked to.
          await victim.kill();
          await victim.start();
        };
      },
    }),
    async remove() {
      victim.keepLog();
      await server[Symbol.asyncDispose]();
      if (mounted) await disk.unmount();
    },
  };
}

function sqliteBroker(store: string, disk: Disk): BrokerUnderTest {
  const file = join(store, 'holdline.db');
  const mounted = 'unmount' in disk;
  return {
    engine: 'sqlite',
    ports: [],
    servers: [],
    url: `sqlite:${file}`,
    diagnose: () => Promise.resolve({ bytes: statSync(file).size }),
    unfit: {
      cut: 'there is no connection',
      stall: 'there is no connection',
      deaf: 'there is no connection',
      ...(!mounted && { full: disk.why }),
    },
    lock: () => {
      const database = new DatabaseSync(file, { timeout: 5_000 });
      database.exec('BEGIN IMMEDIATE');
      return () => database.close();
    },
    ...(mounted && { fill: () => filler(store) }),
    async remove() {
      if (mounted) await disk.unmount();
    },
  };
}

class NatsVictim implements Victim {
  readonly name = 'nats-server';
  readonly #server: NatsServer;
  readonly #log: string;
  #running = true;

  constructor(server: NatsServer, log: string) {
    this.#server = server;
    this.#log = log;
  }

  async kill(): Promise<void> {
    await this.#server.kill9();
    this.#ended();
  }

  async stop(): Promise<void> {
    await this.#server.stop();
    this.#ended();
  }

  async start(): Promise<void> {
    if (this.#running) return;
    await this.#server.restart();
    this.#running = true;
  }

  async pause(): Promise<void> {
    await this.#server.suspend();
  }

  resume(): void {
    this.#server.resume();
  }

  keepLog(): void {
    appendFileSync(this.#log, this.#server.logs);
  }

  #ended(): void {
    this.#running = false;
    this.keepLog();
  }
}

/** A small file system of its own, so that filling it hurts nobody else. Needs root. */
async function mount(folder: string): Promise<Disk> {
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${diskSize}`, 'holdline-chaos', folder]);
    return { unmount: async () => void (await run('umount', ['-l', folder])) };
  } catch (error) {
    return { why: `no file system of its own can be mounted: ${String(error).split('\n')[0]}` };
  }
}

function filler(folder: string): Promise<() => Promise<void>> {
  const file = join(folder, 'filler');
  const block = Buffer.alloc(64 * 1024);
  try {
    for (;;) writeFileSync(file, block, { flag: 'a' });
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
  }
  return Promise.resolve(() => Promise.resolve(rmSync(file, { force: true })));
}
