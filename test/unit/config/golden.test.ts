import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { formatConfigError, readConfig } from '../../../sidecar/config/load.ts';

/**
 * Each file is a configuration, a line of dashes, and what comes of it. A new case is a file with the configuration
 * alone; `vitest -u` writes the rest, to be read before it is committed.
 */
const golden = join(import.meta.dirname, '../../golden/config');
const separator = '\n----------\n';

const env = { HOOK_SECRET: 'whsec_c2VjcmV0', NUMERIC: '0123', HOLD: '' };

function cases(kind: string) {
  const folder = join(golden, kind);
  return readdirSync(folder).map((name) => {
    const file = join(folder, name);
    const [source = ''] = readFileSync(file, 'utf8').split(separator);
    // The text begins at the first line, so that the numbers in the messages are those of the golden file.
    return { name, file, source: `${source.trimEnd()}\n` };
  });
}

/** Files are named from the golden folder, and no path of this machine gets into a golden file. */
function read(source: string) {
  return readConfig(source, join(golden, 'config.yaml'), env);
}

const portable = (text: string) =>
  text.replaceAll(golden, '<folder>').replaceAll('<folder>/config.yaml', 'config.yaml');

describe('a broken file gets every mistake reported at once, at its place', () => {
  test.for(cases('broken'))('$name', async ({ source, file }) => {
    const result = read(source);
    const lines = result.ok ? ['no mistake was found'] : result.errors.map(formatConfigError);
    expect(result.ok).toBe(false);
    await expect(source.trimEnd() + separator + portable(`${lines.join('\n')}\n`)).toMatchFileSnapshot(file);
  });
});

describe('a valid file resolves to the whole configuration', () => {
  test.for(cases('valid'))('$name', async ({ source, file }) => {
    const result = read(source);
    expect(result.ok ? [] : result.errors.map(formatConfigError)).toEqual([]);
    const resolved = result.ok ? JSON.stringify(result.config, null, 2) : '';
    await expect(source.trimEnd() + separator + portable(`${resolved}\n`)).toMatchFileSnapshot(file);
  });
});
