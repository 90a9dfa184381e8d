import type { TestProject } from 'vitest/node';
import { provideChromium } from './chromium.ts';
import { buildJaeger, findJaeger } from './jaeger.ts';
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
  if (project.name === 'integration') {
    const browser = await provideChromium((line) => process.stdout.write(`${project.name}: ${line}\n`));
    if (browser !== undefined) process.env['CHROMIUM_BIN'] = browser;
  }
  const versions = servers.map(({ version }) => version).join(', ');
  const more = process.env['HOLDLINE_NATS_MATRIX'] ? '' : ' (HOLDLINE_NATS_MATRIX=all builds newer ones with Go)';
  if (process.env['HOLDLINE_JAEGER'] === 'build') process.env['JAEGER_BIN'] = await aJaeger(project.name);
  process.stdout.write(`${project.name}: nats-server ${versions}${more}\n`);
}

/** The one that is there, else one that is built: here, as no test has the time. */
async function aJaeger(name: string): Promise<string> {
  const found = await findJaeger();
  if (found !== undefined) return found;
  process.stdout.write(`${name}: building Jaeger with Go, which takes some minutes\n`);
  return await buildJaeger();
}
