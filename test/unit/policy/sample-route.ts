import type { RouteConfig } from '../../../sidecar/config/config.ts';

/** A route with the defaults of the contract. */
export function sampleRoute(different: Partial<RouteConfig> = {}): RouteConfig {
  return {
    name: 'charge',
    match: {},
    mode: 'await',
    hold: 30_000,
    onHoldExpired: 504,
    deadline: 86_400_000,
    idempotencyKey: 'header',
    retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [429, 502, 503, 504] },
    maxBody: 32 * 1024 * 1024,
    onBrokerDown: 'fail',
    ...different,
  };
}
