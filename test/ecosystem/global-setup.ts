import type { TestProject } from 'vitest/node';
import { provideDebian } from './install/debian.ts';
import { provideNpm } from './install/npm.ts';
import { providePython } from './install/python.ts';
import type { Provision } from './install/cache.ts';

/** The programs of the suite, by where they come from. */
export interface Provisions {
  readonly npm: Provision;
  readonly debian: Provision;
  readonly python: Provision;
}

declare module 'vitest' {
  interface ProvidedContext {
    programs: Provisions;
  }
}

/** Installs the programs, where they are not in the cache yet, and says what will be left out, and why. */
export default async function setup(project: TestProject): Promise<void> {
  const begin = performance.now();
  const [npm, debian, python] = await Promise.all([provideNpm(), provideDebian(), providePython()]);
  project.provide('programs', { npm, debian, python });
  const seconds = Math.round((performance.now() - begin) / 1000);
  const provisions = Object.entries({ npm, debian, python });
  const there = provisions.filter(([, provision]) => 'folder' in provision).map(([registry]) => registry);
  process.stdout.write(`${project.name}: programs from ${there.join(', ') || 'nowhere'}, after ${seconds} s\n`);
  for (const [registry, provision] of provisions) {
    if ('unavailable' in provision)
      process.stderr.write(`${project.name}: SKIPPED, what needs ${registry}: ${provision.unavailable}\n`);
    if ('failed' in provision) process.stderr.write(`${project.name}: ${provision.failed}\n`);
  }
}
