import type { ActionEvent } from '../../../sidecar/model/call.ts';

/** An action event like any other; a test names only what it is about. */
export function sampleAction(changes: Partial<ActionEvent> = {}): ActionEvent {
  return {
    id: '01890a5d-ac96-774b-bcce-b302099a8057',
    round: 1,
    caller: 'orders',
    service: 'payments',
    route: 'charge',
    method: 'POST',
    target: '/charges',
    headers: ['Host', 'payments'],
    trailers: [],
    body: new Uint8Array(),
    hasBody: false,
    acceptedAt: 1_000,
    deadline: 1_000_000,
    idempotent: false,
    retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [429, 502, 503, 504] },
    keyed: false,
    fingerprint: 'f',
    maxBody: 1_000_000,
    earlier: [],
    ...changes,
  };
}
