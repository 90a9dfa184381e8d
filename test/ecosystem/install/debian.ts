import { execFile } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { createTempDir } from '../../support/temp-dir.ts';
import { installed, type Provision } from './cache.ts';

const run = promisify(execFile);
const packages = ['apache2-bin', 'cadaver', 'litmus'];

/**
 * Debian's packages, with what they need and this machine has not, unpacked into a folder that stands for `/`. That
 * needs no root, and the machine stays as it was.
 */
export async function provideDebian(): Promise<Provision> {
  let release: string;
  try {
    release = (await run('apt-get', ['--version'])).stdout;
    await run('dpkg-deb', ['--version']);
  } catch {
    return { unavailable: 'there is no apt-get' };
  }
  try {
    return await installed('debian', `${release}\n${packages.join('\n')}`, unpack);
  } catch (error) {
    return { failed: `apt-get for test/ecosystem: ${String(error)}` };
  }
}

async function unpack(folder: string): Promise<void> {
  await using scratch = await createTempDir('debian');
  const archives = scratch.join('archives');
  const lists = scratch.join('lists');
  for (const each of [archives, lists]) await mkdir(join(each, 'partial'), { recursive: true });
  const own = ['-o', `Dir::Cache=${scratch.path}`, '-o', `Dir::Cache::archives=${archives}`];
  // What is installed already is wanted here all the same, and nothing is installed.
  const download = ['install', '--download-only', '--reinstall', '--no-install-recommends', '--yes', ...packages];
  const unlocked = ['-o', 'Debug::NoLocking=true'];
  try {
    await run('apt-get', [...own, ...unlocked, ...download]);
  } catch {
    // A bare machine has no package lists, and an old one lists what is no longer there.
    const ownLists = [...own, '-o', `Dir::State::Lists=${lists}`];
    await run('apt-get', [...ownLists, 'update']);
    await run('apt-get', [...ownLists, ...unlocked, ...download]);
  }
  const fetched = (await readdir(archives)).filter((name) => name.endsWith('.deb'));
  for (const archive of fetched) await run('dpkg-deb', ['-x', join(archives, archive), folder]);
}
