import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';

const root = join(import.meta.dirname, '../..');

/** One import of one project file by another, paths from the project's root. */
export interface SourceImport {
  readonly from: string;
  readonly to: string;
  /** An `import type`: it is gone when the program runs. */
  readonly typeOnly: boolean;
}

/** Every relative import, export-from and dynamic import in the TypeScript files of these top-level folders. */
export async function sourceImports(...folders: string[]): Promise<SourceImport[]> {
  const imports: SourceImport[] = [];
  for (const folder of folders) {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
    for (const entry of entries.filter(({ name }) => name.endsWith('.ts'))) {
      const file = join(entry.parentPath, entry.name);
      for (const { specifier, typeOnly } of importsIn(await readFile(file, 'utf8'))) {
        const to = relative(root, join(dirname(file), specifier));
        imports.push({ from: relative(root, file), to, typeOnly });
      }
    }
  }
  return imports;
}

const statement = /^\s*(?:import|export)\s+(?<type>type\s)?(?:[^'";]*?\sfrom\s+)?'(?<path>\.[^']+)'/gm;
const dynamic = /\bimport\(\s*'(?<path>\.[^']+)'\s*\)/g;

/** The relative imports in a source text. */
export function importsIn(source: string): { specifier: string; typeOnly: boolean }[] {
  return [...source.matchAll(statement), ...source.matchAll(dynamic)].map(({ groups }) => ({
    specifier: groups?.['path'] ?? '',
    typeOnly: groups?.['type'] !== undefined,
  }));
}
