import type { BrokerStatus, DurabilityPromise } from '../broker/port.ts';

/** How one inbound entry, or one subscription, is doing. */
export interface InboundHealth {
  readonly service: string;
  /** Where these are the deliveries of a subscription of this service. */
  readonly subscription?: string;
  /** The broker does not know the subscription yet: it would miss what is published now. */
  readonly unmade?: true;
  /** False while calls wait because the service is down or the broker is away. */
  readonly delivering: boolean;
  /** Why nothing is delivered. */
  readonly why?: string;
  /** Attempts under way. */
  readonly running: number;
  readonly backlog?: { readonly waiting: number; readonly oldest?: number };
}

/** What the parts of a sidecar know of themselves. */
export interface HealthFacts {
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  readonly phase: 'starting' | 'running' | 'stopping';
  readonly broker: BrokerStatus;
  /** As far as it is known: a broker that is away may not have told yet. */
  readonly promise?: DurabilityPromise;
  readonly outbound: { readonly listeners: readonly string[]; readonly held: number };
  readonly inbound: readonly InboundHealth[];
  /** Times are ms since the epoch. */
  readonly configuration: {
    readonly loadedAt: number;
    readonly lastReloadError?: { readonly at: number; readonly errors: readonly string[] };
  };
}

/** What `/ready` says, in JSON. */
export interface Health {
  readonly ready: boolean;
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  /** Everything that is wrong, in sentences; first what makes the sidecar unready. */
  readonly problems: readonly string[];
  readonly broker: BrokerStatus & Partial<DurabilityPromise>;
  readonly outbound: HealthFacts['outbound'];
  readonly inbound: readonly InboundHealth[];
  readonly configuration: {
    readonly loadedAt: string;
    readonly lastReloadError?: { readonly at: string; readonly errors: readonly string[] };
  };
}

/**
 * Whether the sidecar can do its work, and what is wrong.
 *
 * Ready means: the broker is connected and knows the subscriptions, and the listeners are open. A callee that is down is no reason to take the
 * sidecar out of service, as holding calls for it is the very work; nor is a refused reload, as the old
 * configuration goes on.
 */
export function assess(facts: HealthFacts): Health {
  const unready: string[] = [];
  if (facts.phase === 'starting') unready.push('starting: not all listeners are open yet');
  if (facts.phase === 'stopping') unready.push('stopping: calls under way are finished, new ones are refused');
  if (!facts.broker.connected) {
    const { detail } = facts.broker;
    unready.push(`the broker is not connected${detail === undefined ? '' : `: ${detail}`}`);
  }

  for (const { service, subscription, unmade } of facts.inbound) {
    if (unmade && facts.broker.connected)
      unready.push(`the broker does not know the subscription ${service}/${subscription} yet`);
  }

  const others: string[] = [];
  for (const { service, subscription, delivering, why } of facts.inbound) {
    if (!delivering && facts.phase === 'running' && facts.broker.connected) {
      const what =
        subscription === undefined ? `calls to ${service} wait` : `events for ${service}/${subscription} wait`;
      others.push(why === undefined ? what : `${what}: ${why}`);
    }
  }
  const { loadedAt, lastReloadError } = facts.configuration;
  if (lastReloadError !== undefined) {
    others.push(`a changed configuration was refused, the old one goes on: ${lastReloadError.errors.join('; ')}`);
  }

  return {
    ready: unready.length === 0,
    service: facts.service,
    instance: facts.instance,
    version: facts.version,
    problems: [...unready, ...others],
    broker: { ...facts.promise, ...facts.broker },
    outbound: facts.outbound,
    inbound: facts.inbound,
    configuration: {
      loadedAt: new Date(loadedAt).toISOString(),
      ...(lastReloadError !== undefined && {
        lastReloadError: { at: new Date(lastReloadError.at).toISOString(), errors: lastReloadError.errors },
      }),
    },
  };
}
