import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';

/**
 * Largest semi-space of V8's young generation, MB. V8's own limit grows with the memory of the machine, to 64 MB and more, of
 * which a sidecar fills three while it saves no time with them (ADR 0021).
 */
const semiSpace = '--max-semi-space-size=16';

/**
 * How much the old generation may grow between two full collections, percent of what the last one left. V8's own choice grows with the
 * memory of the machine to several times as much; at a half there is one in some ten thousand calls (ADR 0021).
 */
const heapGrowth = '--heap-growing-percent=50';

/** Lets this process collect its old garbage before it has become as much as the memory of the machine allows. */
export function boundHeapGrowth(): void {
  // Unlike on the command line a flag that a later V8 does not know any more is no reason not to start.
  setFlagsFromString(heapGrowth);
}

/**
 * Puts this process in the place of itself, with the V8 settings of a long-running sidecar and with Node's compile cache:
 * same process id, same files, same environment otherwise. Does nothing where that is done already, where somebody has
 * chosen the size of the semi-space, or where the system or Node cannot do it; the sidecar then runs as well, with more memory.
 *
 * @param script the entry point, an absolute path
 * @param args what stands behind it on the command line
 */
export function restartTuned(script: string, args: readonly string[]): void {
  const { env, execArgv, execPath, platform } = process;
  const chosen = [...execArgv, env['NODE_OPTIONS'] ?? ''].some((option) => option.includes('semi-space-size'));
  // A channel to the parent would be lost.
  if (chosen || platform !== 'linux' || process.execve === undefined || process.channel !== undefined) return;
  process.execve(execPath, [execPath, semiSpace, ...execArgv, script, ...args], {
    ...env,
    ...(env['NODE_COMPILE_CACHE'] === undefined && { NODE_COMPILE_CACHE: compileCache() }),
  });
}

/**
 * Beside the program and not in the temporary folder, where others could write into it. What cannot be written there is compiled
 * again at each start.
 */
function compileCache(): string {
  const modules = join(import.meta.dirname, '..', '..', 'node_modules');
  return existsSync(modules) ? join(modules, '.cache', 'holdline', 'compiled') : '';
}
