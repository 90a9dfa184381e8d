import { accessSync, constants, statSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Path } from './document.ts';
import type { Problem } from './issues.ts';

/** A file that the configuration names. */
interface FileReference {
  readonly path: Path;
  /** Absolute. */
  readonly file: string;
}

/**
 * The files that the plain value of a configuration names, wherever the schema has a file.
 * @param folder where relative paths start
 */
export function namedFiles(config: unknown, folder: string): FileReference[] {
  const broker = at(config, 'broker');
  const inbound = at(config, 'inbound');
  const places: { value: unknown; path: Path }[] = [
    { value: at(broker, 'credentials'), path: ['broker', 'credentials'] },
    ...tlsFiles(at(broker, 'tls'), ['broker', 'tls']),
    ...(Array.isArray(inbound) ? inbound : []).flatMap((entry: unknown, index) =>
      tlsFiles(at(entry, 'tls'), ['inbound', index, 'tls']),
    ),
  ];
  return places.flatMap(({ value, path }) =>
    typeof value === 'string' && value !== '' ? [{ path, file: resolve(folder, value) }] : [],
  );
}

function tlsFiles(tls: unknown, path: Path) {
  return ['ca', 'cert', 'key'].map((key) => ({ value: at(tls, key), path: [...path, key] }));
}

function at(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined;
}

/** Files that could not be read when they are needed. */
export function checkFiles(references: readonly FileReference[]): Problem[] {
  return references.flatMap(({ path, file }): Problem[] => {
    try {
      accessSync(file, constants.R_OK);
      if (statSync(file).isFile()) return [];
      return [{ path, at: 'value', message: `${file} is no file; expected the path of one` }];
    } catch (error) {
      return [{ path, at: 'value', message: `${file} ${readFailure(error)}; expected the path of a readable file` }];
    }
  });
}

/** Why a file cannot be read, as the end of a sentence that begins with it. */
export function readFailure(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  switch (code) {
    case 'ENOENT':
    case 'ENOTDIR':
      return 'does not exist';
    case 'EACCES':
    case 'EPERM':
      return 'may not be read by this user';
    case 'EISDIR':
      return 'is a folder';
    default:
      return `cannot be read (${error instanceof Error ? error.message : String(error)})`;
  }
}
