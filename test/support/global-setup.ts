import type { TestProject } from 'vitest/node';
import { serverBinaries } from './server-matrix.ts';

declare module 'vitest' {
  interface ProvidedContext {
    /** The servers that the broker tests run against; the first is the one that is simply there. */
    natsServers: readonly { readonly bin: string; readonly version: string }[];
  }
}

/** Finds, fetches or builds the servers once for the whole run, and says which ones it will be. */
export default async function setup(project: TestProject): Promise<void> {
  const servers = await serverBinaries();
  const [found] = servers;
  if (found) process.env['NATS_SERVER_BIN'] = found.bin;
  project.provide('natsServers', servers);
  const versions = servers.map(({ version }) => version).join(', ');
  const more = process.env['HOLDLINE_NATS_MATRIX'] ? '' : ' (HOLDLINE_NATS_MATRIX=all builds newer ones with Go)';
  process.stdout.write(`${project.name}: nats-server ${versions}${more}\n`);
}
