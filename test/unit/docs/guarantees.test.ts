import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const page = readFileSync(join(root, 'sidecar/docs/guarantees.md'), 'utf8');

/** The rows of the tables that say what shows them, as cells. */
const rows = page
  .split(/^#+ /m)
  .flatMap((section) => section.split('\n\n'))
  .map((block) => block.split('\n').filter((line) => line.startsWith('|')))
  .filter(([head]) => head?.includes('shown by'))
  .flatMap((lines) => lines.slice(2))
  .map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );

describe('guarantees.md', () => {
  const named = [...new Set([...page.matchAll(/`(test\/[^`\s]+)`/g)].map(([, path]) => path!))];

  test('names tests that exist', () => {
    expect(named.length).toBeGreaterThan(30);
    expect(named.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('says of every promise which test shows it, or that there is none', () => {
    expect(rows.length).toBeGreaterThan(40);
    const silent = rows.filter((cells) => !/^(none yet|`test\/)/.test(cells.at(-1) ?? ''));
    expect(silent.map(([first]) => first)).toEqual([]);
  });

  test('is found from the README', () => {
    expect(readFileSync(join(root, 'README.md'), 'utf8')).toContain('](sidecar/docs/guarantees.md)');
  });

  test('links to pages that exist', () => {
    const links = [...page.matchAll(/\]\(([a-z-]+\.md)[^)]*\)/g)].map(([, link]) => link!);
    expect(links.length).toBeGreaterThan(1);
    expect(links.filter((link) => !existsSync(join(root, 'sidecar/docs', link)))).toEqual([]);
  });
});
