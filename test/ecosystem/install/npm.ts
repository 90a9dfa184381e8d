import { execFile } from 'node:child_process';
import { cp, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { installed, type Provision } from './cache.ts';

const run = promisify(execFile);
const source = join(import.meta.dirname, '../programs');
const manifest = ['package.json', 'package-lock.json', '.npmrc'];

/** The programs of `test/ecosystem/programs/package.json`, in a `node_modules` of their own. */
export async function provideNpm(): Promise<Provision> {
  const texts = await Promise.all(manifest.map((file) => readFile(join(source, file), 'utf8')));
  try {
    return await installed('npm', texts.join('\n'), async (folder) => {
      for (const file of manifest) await cp(join(source, file), join(folder, file));
      // No package's own script is needed: leveldown brings its binaries with it.
      await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: folder });
    });
  } catch (error) {
    return { failed: `npm ci for test/ecosystem/programs: ${String(error)}` };
  }
}
