/**
 * Files that are made from the code. `node test/gate/generated.ts` writes them; with `--check` it writes nothing and
 * exits 1 when one of them is not what the code would make.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { editorSchema } from '../../sidecar/config/json-schema.ts';
import { fillTables } from './configuration-tables.ts';

export interface GeneratedFile {
  /** From the top of the repository. */
  readonly path: string;
  /** @param current what the file says now; empty where there is none */
  readonly content: (current: string) => string;
}

/** Every generated file; add new ones here. */
export const generatedFiles: readonly GeneratedFile[] = [
  { path: 'config/holdline.schema.json', content: () => `${JSON.stringify(editorSchema(), null, 2)}\n` },
  { path: 'sidecar/docs/configuration.md', content: fillTables },
];

const top = join(import.meta.dirname, '../..');

/** The files that are not what they should be. */
export async function drifted(files: readonly GeneratedFile[] = generatedFiles, folder = top) {
  const looked = await Promise.all(
    files.map(async ({ path, content }) => {
      const current = await readFile(join(folder, path), 'utf8').catch((error: NodeJS.ErrnoException) => {
        if (error.code === 'ENOENT') return '';
        throw error;
      });
      return { path, current, wanted: content(current) };
    }),
  );
  return looked.filter(({ current, wanted }) => current !== wanted);
}

async function main(args: readonly string[]): Promise<number> {
  const stale = await drifted();
  if (!args.includes('--check')) {
    await Promise.all(stale.map(({ path, wanted }) => writeFile(join(top, path), wanted)));
    for (const { path } of stale) process.stdout.write(`${path} written\n`);
    return 0;
  }
  for (const { path } of stale) {
    process.stderr.write(
      `${path} is not what the code would make of it: run "npm run generate" and commit the result\n`,
    );
  }
  return stale.length === 0 ? 0 : 1;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) process.exitCode = await main(process.argv.slice(2));
