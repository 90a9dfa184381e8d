import { describe } from 'vitest';
import type { Candidate } from './backend.ts';
import { awaiting } from './concerns/awaiting.ts';
import { broadcasting } from './concerns/broadcasting.ts';
import { ending } from './concerns/ending.ts';
import { callFeeds } from './concerns/call-feeds.ts';
import { callbacks } from './concerns/callbacks.ts';
import { bodies } from './concerns/bodies.ts';
import { capacity } from './concerns/capacity.ts';
import { claiming } from './concerns/claiming.ts';
import { closing } from './concerns/closing.ts';
import { deadLetters } from './concerns/dead-letters.ts';
import { killing } from './concerns/killing.ts';
import { leasing } from './concerns/leasing.ts';
import { listing } from './concerns/listing.ts';
import { losing } from './concerns/losing.ts';
import { order } from './concerns/order.ts';
import { orderKeys } from './concerns/order-keys.ts';
import { orderOfDeliveries } from './concerns/order-of-deliveries.ts';
import { overdue } from './concerns/overdue.ts';
import { promising } from './concerns/promising.ts';
import { reconnecting } from './concerns/reconnecting.ts';
import { retention } from './concerns/retention.ts';
import { storing } from './concerns/storing.ts';
import { subscribing } from './concerns/subscribing.ts';
import { topology } from './concerns/topology.ts';
import { withdrawing } from './concerns/withdrawing.ts';

/**
 * The contract of the broker port as tests: whatever passes may be a broker of Holdline. Parametrised by how a backend is
 * made and by what it supports; nothing here knows which broker it is.
 */
export function describeBrokerContract(candidate: Candidate): void {
  describe(`on ${candidate.name}`, () => {
    storing(candidate);
    awaiting(candidate);
    claiming(candidate);
    leasing(candidate);
    order(candidate);
    orderKeys(candidate);
    withdrawing(candidate);
    deadLetters(candidate);
    callbacks(candidate);
    callFeeds(candidate);
    ending(candidate);
    listing(candidate);
    overdue(candidate);
    losing(candidate);
    killing(candidate);
    retention(candidate);
    capacity(candidate);
    bodies(candidate);
    closing(candidate);
    reconnecting(candidate);
    promising(candidate);
    topology(candidate);
    broadcasting(candidate);
    subscribing(candidate);
    orderOfDeliveries(candidate);
  });
}
