import { defineConfig } from 'vitest/config';

/** A project is a folder under test/; each file runs in a process of its own. */
function project(
  name: string,
  limits: { readonly testTimeout: number; readonly needsServer: boolean; readonly globalSetup?: string },
) {
  return {
    extends: true as const,
    test: {
      name,
      include: [`test/${name}/**/*.test.ts`],
      testTimeout: limits.testTimeout,
      hookTimeout: limits.testTimeout,
      teardownTimeout: limits.testTimeout,
      setupFiles: ['test/support/after-file.ts'],
      globalSetup: [
        ...(limits.needsServer ? ['test/support/global-setup.ts'] : []),
        ...(limits.globalSetup === undefined ? [] : [limits.globalSetup]),
      ],
    },
  };
}

export default defineConfig({
  test: {
    pool: 'forks',
    isolate: true,
    // Tests start brokers and sidecars of their own, so that many files at once only make each slower; but much of what they
    // do is waiting for leases to end, so that two would leave two cores idle.
    maxWorkers: 3,
    // Time limits are there for what hangs, not for what is slow.
    projects: [
      project('unit', { testTimeout: 30_000, needsServer: false }),
      project('integration', { testTimeout: 60_000, needsServer: true }),
      project('conformance', { testTimeout: 60_000, needsServer: true }),
      project('ecosystem', { testTimeout: 120_000, needsServer: true, globalSetup: 'test/ecosystem/global-setup.ts' }),
    ],
  },
});
