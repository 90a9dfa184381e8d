import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../../..');
const folder = join(root, 'sidecar/docs/adr');
const records = readdirSync(folder).filter((name) => /^\d{4}-/.test(name));
const read = (name: string) => readFileSync(join(folder, name), 'utf8');

test('every decision is in the index, under its own title', () => {
  const listed = [...read('README.md').matchAll(/^\| \[(\d{4})\]\(([^)]+)\)\s*\| (.*?)\s*\|$/gm)];
  const expected = records.map((name) => {
    const [, number, title] = /^# (\d{4}): (.*)$/m.exec(read(name)) ?? [];
    return [number, name, title];
  });
  expect(listed.map(([, number, name, title]) => [number, name, title])).toEqual(expected);
});

test.each(records)('%s says status, context, decision and consequences', (name) => {
  const text = read(name);
  expect(text.startsWith(`# ${name.slice(0, 4)}: `)).toBe(true);
  expect(text).toMatch(/^Status: /m);
  expect([...text.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading)).toEqual([
    'Context',
    'Decision',
    'Consequences',
  ]);
});

test('every dependency has its reason in 0006, and no other package has', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, object>;
  const taken = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
  const text = read('0006-dependencies.md');
  expect(taken.filter((name) => !text.includes(`\`${name}\``))).toEqual([]);
  const table = [...text.matchAll(/^\| (`[^|]*)\|/gm)].flatMap(([, cell]) => [...cell!.matchAll(/`([^`]+)`/g)]);
  expect(table.map(([, name]) => name!).filter((name) => !taken.includes(name))).toEqual([]);
});
