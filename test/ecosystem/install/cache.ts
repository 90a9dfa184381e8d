import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { serverCache } from '../../support/server-binary.ts';

/** What became of programs that the suite wants: a folder that has them, or why there is none. */
export type Provision =
  | { readonly folder: string }
  /** Nothing on this machine could install them: the scenarios that need them are skipped. */
  | { readonly unavailable: string }
  /** They could be installed here, and it went wrong: the scenarios that need them fail. */
  | { readonly failed: string };

/**
 * The folder of an installation, filled once for each content of `key` and kept in the cache, which the project's
 * `npm ci` empties.
 * @param fill installs into the empty folder that it is given; it is renamed afterwards, so it must not remember its path
 * @throws what `fill` throws; nothing is kept then
 */
export async function installed(
  name: string,
  key: string,
  fill: (folder: string) => Promise<void>,
): Promise<{ readonly folder: string }> {
  const digest = createHash('sha256').update(key).digest('hex').slice(0, 16);
  const folder = join(serverCache, `ecosystem-${name}-${digest}`);
  if (existsSync(folder)) return { folder };
  await mkdir(serverCache, { recursive: true });
  // Filled under another name first: a parallel run must never meet half an installation.
  const part = await mkdtemp(`${folder}.`);
  try {
    await fill(part);
    await rename(part, folder);
  } catch (error) {
    await rm(part, { recursive: true, force: true });
    // A parallel run was there first.
    if (!existsSync(folder)) throw error;
  }
  return { folder };
}
