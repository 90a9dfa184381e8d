import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { createProgram } from '../../../sidecar/cli/program.ts';
import { problemCodes } from '../../../sidecar/model/problem-code.ts';

const docs = join(import.meta.dirname, '../../../sidecar/docs');
const read = (name: string) => readFileSync(join(docs, name), 'utf8');

/** Every command that does something, as `calls list`, with its part of the path. */
function leaves(command: Command, path: readonly string[] = []): { name: string; command: Command }[] {
  if (command.commands.length === 0) return [{ name: path.join(' '), command }];
  return command.commands.flatMap((child) => leaves(child, [...path, child.name()]));
}

const commands = leaves(createProgram());

describe('cli.md', () => {
  const page = read('cli.md');
  const headings = [...page.matchAll(/^#+ `([^`]+)`$/gm)].map(([, heading]) => heading!.replace(/ [A-Z…]+$/, ''));

  test('has one section for every command, and none for others', () => {
    expect(headings.toSorted()).toEqual(commands.map(({ name }) => name).toSorted());
  });

  test.each(commands.map(({ name, command }) => [name, command] as const))('names every option of %s', (_, command) => {
    for (const { long } of command.options) expect(page).toContain(`${long}`);
  });

  test('names no option that does not exist', () => {
    const known = new Set(
      [...commands.flatMap(({ command }) => command.options), ...createProgram().options].map(({ long }) => long),
    );
    const named = new Set([...page.matchAll(/(?<![\w-])--[a-z][a-z-]*/g)].map(([option]) => option));
    named.delete('--help');
    expect([...named].filter((option) => !known.has(option))).toEqual([]);
  });
});

test.each(commands.map(({ name, command }) => [name, command] as const))(
  '%s has help with an example',
  (_, command) => {
    let help = '';
    command.configureOutput({ writeOut: (text) => (help += text) });
    command.outputHelp();
    expect(command.description()).not.toBe('');
    expect(help).toMatch(/Examples?:\n  \$ holdline /);
  },
);

describe('errors.md', () => {
  const codes = [...read('errors.md').matchAll(/^\| `([a-z-]+)`\s+\| [\d, ]+ \|/gm)].map(([, code]) => code!);

  test('explains every problem code, once, and no other', () => {
    expect(codes.toSorted()).toEqual([...problemCodes].toSorted());
  });
});
