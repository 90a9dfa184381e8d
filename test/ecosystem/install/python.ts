import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installed, type Provision } from './cache.ts';

const run = promisify(execFile);
const requirements = join(import.meta.dirname, '../programs/requirements.txt');

/** The libraries of `test/ecosystem/programs/requirements.txt`, in a folder for PYTHONPATH. */
export async function providePython(): Promise<Provision> {
  let version: string;
  try {
    // Its version is part of the key: some of the libraries are compiled for one.
    version = (await run('python3', ['-m', 'pip', '--version'])).stdout;
  } catch {
    return { unavailable: 'there is no python3 with pip' };
  }
  try {
    const key = `${version}\n${await readFile(requirements, 'utf8')}`;
    return await installed('python', key, async (folder) => {
      const quiet = ['--disable-pip-version-check', '--no-input', '--root-user-action=ignore', '--quiet'];
      const plain = ['--no-deps', '--no-compile', '--no-cache-dir', '--only-binary=:all:'];
      await run('python3', ['-m', 'pip', 'install', ...quiet, ...plain, '--target', folder, '-r', requirements]);
    });
  } catch (error) {
    return { failed: `pip install for test/ecosystem: ${String(error)}` };
  }
}
