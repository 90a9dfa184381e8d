import { readdirSync } from 'node:fs';
import { delimiter, dirname, join } from 'node:path';
import { inject } from 'vitest';
import { ManagedProcess } from '../support/managed-process.ts';
import type { Provisions } from './global-setup.ts';

/** Where programs come from. */
export type Registry = keyof Provisions;

/** Why programs of a registry cannot be had on this machine, for `skipIf` and a test's name; undefined where they can. */
export function unavailable(...registries: readonly Registry[]): string | undefined {
  for (const registry of registries) {
    const provision = inject('programs')[registry];
    if ('unavailable' in provision) return `${registry}: ${provision.unavailable}`;
  }
  return undefined;
}

/**
 * The folder of a registry's programs.
 * @throws Error that says why there is none.
 */
export function programFolder(registry: Registry): string {
  const provision = inject('programs')[registry];
  if ('folder' in provision) return provision.folder;
  throw new Error('failed' in provision ? provision.failed : provision.unavailable);
}

/** The environment in which programs of a registry find what they need. */
export function environmentOf(registry: Registry): Record<string, string> {
  const folder = programFolder(registry);
  switch (registry) {
    case 'npm':
      return { NODE_PATH: join(folder, 'node_modules') };
    case 'python':
      // The cache stays as it was installed.
      return { PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' };
    case 'debian': {
      const libraries = readdirSync(join(folder, 'usr/lib')).filter((name) => name.endsWith('-linux-gnu'));
      return { LD_LIBRARY_PATH: libraries.map((name) => join(folder, 'usr/lib', name)).join(delimiter) };
    }
  }
}

/** What this machine's user, or the npm that started the tests, has set up is not to reach the programs. */
const strange = /^(npm_|https?_proxy$|all_proxy$|no_proxy$|NODE_USE_ENV_PROXY$|GIT_)/i;

/** What of the environment is taken from programs, and a PATH on which the Node of the tests comes first. */
function cleanEnvironment(): Record<string, string | undefined> {
  return {
    ...Object.fromEntries(Object.keys(process.env).flatMap((name) => (strange.test(name) ? [[name, undefined]] : []))),
    PATH: `${dirname(process.execPath)}${delimiter}${process.env['PATH'] ?? ''}`,
  };
}

/** The variables that send a program's calls through a proxy, in both spellings (`sidecar/docs/interception.md`). */
export function proxyVariables(proxy: string): Record<string, string> {
  const direct = 'localhost,127.0.0.1';
  return { HTTP_PROXY: proxy, http_proxy: proxy, NO_PROXY: direct, no_proxy: direct, NODE_USE_ENV_PROXY: '1' };
}

/** How to run a program. */
export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** Starts a program that is looked up on the PATH. */
export async function start(command: readonly string[], options: RunOptions = {}): Promise<ManagedProcess> {
  return ManagedProcess.start({
    label: command.slice(0, 2).join(' '),
    command: '/usr/bin/env',
    args: command,
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { ...cleanEnvironment(), ...options.env },
  });
}

/**
 * Runs a program to its end.
 * @returns what it printed to stdout
 * @throws Error with all its output when it ended otherwise than well.
 */
export async function run(command: readonly string[], options: RunOptions = {}): Promise<string> {
  const program = await start(command, options);
  const { code } = await program.exited;
  if (code !== 0) throw new Error(program.obituary);
  return program.stdout;
}
