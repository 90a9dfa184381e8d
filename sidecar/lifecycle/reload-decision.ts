import { isDeepStrictEqual } from 'node:util';
import type { Config } from '../config/config.ts';

/** What a changed configuration means for a running sidecar. */
export type ReloadDecision =
  | { readonly kind: 'unchanged' }
  | { readonly kind: 'apply' }
  /** The old configuration goes on. */
  | { readonly kind: 'refuse'; readonly reasons: readonly string[] };

/**
 * Decides whether `next` can take the place of `current` without a restart. A sidecar holds calls under its service's
 * name on its broker: another one of either would strand them, so these two stay for the life of the process.
 */
export function decideReload(current: Config, next: Config): ReloadDecision {
  if (isDeepStrictEqual(current, next)) return { kind: 'unchanged' };
  const reasons: string[] = [];
  for (const part of ['service', 'broker', 'telemetry'] as const) {
    if (!isDeepStrictEqual(withoutLive(current)[part], withoutLive(next)[part])) {
      reasons.push(`${part}: a change needs a restart`);
    }
  }
  return reasons.length > 0 ? { kind: 'refuse', reasons } : { kind: 'apply' };
}

/** The log level and the place where traces are looked at are applied live. */
function withoutLive(config: Config): Config {
  const { traceLink: _, ...telemetry } = config.telemetry;
  return { ...config, telemetry: { ...telemetry, log: { level: 'info' } } };
}
