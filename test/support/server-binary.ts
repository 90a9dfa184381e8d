import { execFile } from 'node:child_process';
import { access, constants, cp, mkdir, readdir, rename } from 'node:fs/promises';
import { delimiter, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { createTempDir } from './temp-dir.ts';

const run = promisify(execFile);

/** Where fetched and built servers are kept; `npm ci` empties it. */
export const serverCache = join(import.meta.dirname, '../../node_modules/.cache/holdline');

const howToGetOne = `No nats-server was found. Any of these gives the tests one:
  - set NATS_SERVER_BIN to a server binary (2.9.10 or later),
  - put nats-server on the PATH,
  - on Debian or Ubuntu: apt-get install nats-server,
  - with Go: go install github.com/nats-io/nats-server/v2@latest.`;

/** Where to look; the tests of the finder narrow it. */
export interface SearchOptions {
  /** An exact path, which must then work. Default: NATS_SERVER_BIN. */
  readonly exact?: string | undefined;
  /** Folders to look in. Default: PATH, and /usr/sbin, where Debian puts it and which a user's PATH often lacks. */
  readonly folders?: readonly string[];
  /** Where a fetched server is kept. Default: {@link serverCache}. */
  readonly cache?: string;
}

/**
 * Finds a `nats-server`: the one that NATS_SERVER_BIN names, else one on the PATH, else one fetched earlier, else, on
 * Debian, the distribution's package, unpacked into the cache (that needs no root and installs nothing).
 *
 * @throws Error that says how to get one.
 */
export async function findServerBinary(options: SearchOptions = {}): Promise<string> {
  const exact = 'exact' in options ? options.exact : process.env['NATS_SERVER_BIN'];
  if (exact) {
    if (await isExecutable(exact)) return exact;
    throw new Error(`NATS_SERVER_BIN is ${exact}, which cannot be executed`);
  }
  const folders = options.folders ?? [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
  const fetched = join(options.cache ?? serverCache, 'nats-server-debian');
  for (const candidate of [...folders.filter(Boolean).map((folder) => join(folder, 'nats-server')), fetched]) {
    if (await isExecutable(candidate)) return candidate;
  }
  try {
    await fetchDebianPackage(fetched);
    return fetched;
  } catch (cause) {
    throw new Error(`${howToGetOne}\nFetching the Debian package failed: ${String(cause)}`, { cause });
  }
}

/** The version that a server binary says it has, such as `2.9.10`. */
export async function serverVersion(bin: string): Promise<string> {
  const { stdout } = await run(bin, ['--version']);
  const version = /v(\d+\.\d+\.\d+\S*)/.exec(stdout)?.[1];
  if (version === undefined) throw new Error(`${bin} --version says "${stdout.trim()}"`);
  return version;
}

/** Whether the file is there and may be executed. */
export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function fetchDebianPackage(target: string): Promise<void> {
  await using scratch = await createTempDir('nats-server');
  const lists = scratch.join('lists');
  await mkdir(join(lists, 'partial'), { recursive: true });
  // A bare machine has no package lists. Lists of our own need no root and leave the machine as it was.
  const ownLists = ['-o', `Dir::State::Lists=${lists}`, '-o', `Dir::Cache=${scratch.path}`];
  try {
    await run('apt-get', ['download', 'nats-server'], { cwd: scratch.path });
  } catch {
    await run('apt-get', [...ownLists, 'update']);
    await run('apt-get', [...ownLists, 'download', 'nats-server'], { cwd: scratch.path });
  }
  const archive = (await readdir(scratch.path)).find((name) => name.endsWith('.deb'));
  if (archive === undefined) throw new Error('apt-get download left no package behind');
  await run('dpkg-deb', ['-x', archive, 'unpacked'], { cwd: scratch.path });
  await mkdir(dirname(target), { recursive: true });
  // Copied under another name first: a parallel reader must never meet half a binary.
  const part = `${target}.${process.pid}`;
  await cp(scratch.join('unpacked/usr/sbin/nats-server'), part);
  await rename(part, target);
}
