import { decodeAction, decodeResponse } from '../../model/codec.ts';
import { TopologyMap, type Topology } from '../topology.ts';
import type { Ledger } from './ledger.ts';

/** Responses looked at. */
const responsesRead = 1000;
/** Dead letters looked at. */
const lettersRead = 1000;

/**
 * Reads the topology off the tables.
 * @param living the sidecars that hold or have held a lease, and whose process is there
 */
export function chart(
  ledger: Ledger,
  living: readonly { readonly service: string }[],
  windowMs: number,
  now: number,
): Topology {
  const map = new TopologyMap(now, windowMs);
  for (const { service } of living) map.service(service, 1);
  for (const { caller, service, count, oldest, first, last } of ledger.calls.edges()) {
    const routes = [...new Set([first, last])].map((seq) => decodeAction(ledger.calls.action(seq)).route);
    map.waiting(caller, service, count, oldest, routes);
  }
  const responses = ledger.responses.list({ limit: responsesRead, now }).map(({ event }) => decodeResponse(event));
  map.finished(responses, responses.length < responsesRead);
  for (const { action } of ledger.letters.list({ limit: lettersRead }, now)) {
    map.deadLetters(action.caller, action.service, 1);
  }
  return map.result();
}
