/** Every code of a refusal or a failure that Holdline answers itself; `Holdline-Error` carries it (contract section 4). */
export const problemCodes = [
  'hold-expired',
  'exhausted',
  'outcome-unknown',
  'deadline-exceeded',
  'cancelled',
  'answer-too-large',
  'upstream-unreachable',
  'shutting-down',
  'broker-unavailable',
  'overloaded',
  'body-too-large',
  'key-reused',
  'not-routed',
  'bad-request',
  'call-unknown',
  'call-started',
] as const;

export type ProblemCode = (typeof problemCodes)[number];
