import { mkdir, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { atLeast } from '../../sidecar/broker/jetstream/promise.ts';
import { go } from './go.ts';
import { findServerBinary, isExecutable, serverCache, serverVersion } from './server-binary.ts';

const purpose = 'a nats-server has to be built';
const module = 'github.com/nats-io/nats-server/v2';

/** One server that the broker tests run against. */
export interface ServerBinary {
  readonly bin: string;
  /** Such as `2.9.10`. */
  readonly version: string;
}

/**
 * The servers to run the broker tests against: the one that is there and, where HOLDLINE_NATS_MATRIX asks for them and
 * Go is present, newer ones, built from the Go module proxy into the cache.
 *
 * HOLDLINE_NATS_MATRIX is a list of release lines, such as `2.11,2.12` or `newest`; `all` stands for
 * `2.10,2.11,2.12,newest`. The newest release of each line is taken.
 *
 * @throws Error when the matrix is asked for and cannot be had: a run that was to prove more must not pass with less.
 */
export async function serverBinaries(): Promise<readonly ServerBinary[]> {
  const found = await describe(await findServerBinary());
  const asked = process.env['HOLDLINE_NATS_MATRIX'];
  if (!asked) return [found];
  const lines = (asked === 'all' ? '2.10,2.11,2.12,newest' : asked).split(',').map((line) => line.trim());
  const versions = new Set<string>();
  const released = await releases();
  for (const line of lines) versions.add(newestOf(line, released));
  versions.delete(found.version);
  const built: ServerBinary[] = [];
  for (const version of versions) built.push(await describe(await build(version)));
  return [found, ...built];
}

/**
 * A server for a cluster, which takes 2.11 or later: the one that is there if it is new enough, else one that is built,
 * of the last line that HOLDLINE_NATS_MATRIX names, or of 2.12.
 * @throws Error when none can be had
 */
export async function clusterServer(): Promise<ServerBinary> {
  const found = await describe(await findServerBinary());
  if (atLeast(found.version, '2.11.0')) return found;
  const line = process.env['HOLDLINE_NATS_MATRIX']?.split(',').at(-1)?.trim() ?? '2.12';
  return describe(await build(newestOf(line === 'all' ? 'newest' : line, await releases())));
}

/**
 * The newest release of a line, such as `2.11`, or of all for `newest`; previews do not count.
 * @throws Error when the line has none.
 */
export function newestOf(line: string, released: readonly string[]): string {
  const finals = released.filter((version) => /^\d+\.\d+\.\d+$/.test(version));
  const candidates = line === 'newest' ? finals : finals.filter((version) => version.startsWith(`${line}.`));
  const newest = candidates.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (newest === undefined) throw new Error(`there is no nats-server release ${line}`);
  return newest;
}

async function releases(): Promise<string[]> {
  const stdout = await go(purpose, ['list', '-m', '-versions', '-json', `${module}@latest`]);
  const { Versions } = JSON.parse(stdout) as { Versions: string[] };
  return Versions.map((version) => version.replace(/^v/, ''));
}

async function build(version: string): Promise<string> {
  const folder = join(serverCache, `nats-server-${version}`);
  const bin = join(folder, 'nats-server');
  if (await isExecutable(bin)) return bin;
  const part = `${folder}.${process.pid}`;
  await mkdir(part, { recursive: true });
  await go(purpose, ['install', `${module}@v${version}`], { env: { GOBIN: part } });
  // Built under another name first: a parallel run must never meet half a binary.
  await mkdir(folder, { recursive: true });
  await rename(join(part, 'nats-server'), bin);
  return bin;
}

async function describe(bin: string): Promise<ServerBinary> {
  return { bin, version: await serverVersion(bin) };
}
