import type { Config } from '../config/config.ts';

/**
 * The parts of the configuration that this version understands and cannot carry out yet. Running on without them
 * would silently break what the file asks for, so `run` refuses to start and a reload is refused.
 *
 * @returns a sentence for each place, empty when everything can be carried out
 */
export function notYet(config: Config): string[] {
  const found: string[] = [];
  const add = (path: string, what: string) => found.push(`${path}: ${what} is not available in this version yet`);

  for (const route of config.outbound?.routes ?? []) {
    const path = `outbound.routes.${route.name}`;
    if (route.mode === 'observe') add(path, `mode: ${route.mode}`);
  }
  return found;
}
