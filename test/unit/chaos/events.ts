import type { Answered, Attempted, HistoryEvent, Invoke } from '../../chaos/history.ts';

/* Events as short words, so that a history reads as a story; what a test does not say is the first call's ordinary life. */

export const invoke = (at: number, more: Partial<Invoke> = {}): Invoke => ({
  type: 'invoke',
  at,
  token: 't1',
  exchange: `e${at}`,
  via: 'orders-1',
  work: 'guarded',
  idempotent: false,
  ...more,
});
export const accepted = (at: number, call = 'c1', token = 't1'): HistoryEvent => ({
  type: 'accepted',
  at,
  token,
  exchange: `e${at}`,
  call,
  status: 202,
});
export const attempted = (at: number, more: Partial<Attempted> = {}): Attempted => ({
  type: 'attempted',
  at,
  token: 't1',
  service: 'payments-1',
  call: 'c1',
  attempt: 1,
  nonce: 'n1',
  executed: true,
  behaviour: 'well',
  ...more,
});
export const answered = (at: number, more: Partial<Answered> = {}): Answered => ({
  type: 'answered',
  at,
  asked: at - 1,
  token: 't1',
  via: 'orders-1',
  call: 'c1',
  status: 200,
  digest: 'd1',
  echo: { token: 't1', nonce: 'n1' },
  ...more,
});
/** What Holdline says in place of an answer. */
export const givenUp = (at: number, error: string, more: Partial<Answered> = {}): Answered => {
  const { echo: _, ...bare } = answered(at, { status: 502, digest: error, error, ...more });
  return bare;
};
export const refused = (at: number, code = 'broker-unavailable'): HistoryEvent => ({
  type: 'refused',
  at,
  token: 't1',
  exchange: `e${at}`,
  status: 503,
  code,
});
export const unknown = (at: number): HistoryEvent => ({
  type: 'unknown',
  at,
  token: 't1',
  exchange: `e${at}`,
  detail: 'reset',
});
export const missing = (at: number): HistoryEvent => ({
  type: 'missing',
  at,
  token: 't1',
  via: 'orders-1',
  call: 'c1',
});
export const letter = (at: number, reason: string): HistoryEvent => ({ type: 'letter', at, call: 'c1', reason });
export const listed = (at: number, state: string, acceptedAt = 2): HistoryEvent => ({
  type: 'listed',
  at,
  call: 'c1',
  state,
  acceptedAt,
});
export const cancelled = (at: number): HistoryEvent => ({
  type: 'cancelled',
  at,
  token: 't1',
  via: 'orders-1',
  call: 'c1',
});
export const replayed = (at: number): HistoryEvent => ({ type: 'replayed', at, call: 'c1' });
export const killed = (target: string, from: number, to: number): HistoryEvent[] => [
  { type: 'fault', at: from, name: 'kill', target, phase: 'begin' },
  { type: 'fault', at: to, name: 'kill', target, phase: 'end' },
];
export const paused = (from: number, to: number): HistoryEvent[] => [
  { type: 'fault', at: from, name: 'pause', target: 'payments-1', phase: 'begin' },
  { type: 'fault', at: to, name: 'pause', target: 'payments-1', phase: 'end' },
];
export const starved = (from: number, to: number): HistoryEvent[] => [
  { type: 'fault', at: from, name: 'starved', target: 'machine', phase: 'begin' },
  { type: 'fault', at: to, name: 'starved', target: 'machine', phase: 'end' },
];
export const jumped = (from: number, to: number, by: number): HistoryEvent[] => [
  { type: 'fault', at: from, name: 'clock', target: 'payments-1’s clock', phase: 'begin', by },
  { type: 'fault', at: to, name: 'clock', target: 'payments-1’s clock', phase: 'end', by },
];
export const outcomeUnknown = (...before: HistoryEvent[]) => [
  ...before,
  invoke(10_000),
  attempted(10_001),
  givenUp(12_000, 'outcome-unknown'),
  letter(20_000, 'outcome-unknown'),
];
export const crashed: HistoryEvent = { type: 'crashed', at: 5, part: 'orders-1', detail: 'exit code 1' };

export const keyed = { key: 'k1', idempotent: true } as const;
export const bought = { content: true } as const;
export const hasty = { deadline: 3_000 } as const;
export const ordered = (position: number) => ({
  order: { key: 'o', position },
  token: `t${position}`,
  idempotent: true,
});
/** The first of the queue is carried out once more. */
export const again = (at: number) => attempted(at, { attempt: 2, nonce: 'n3' });
export const queue = (first: number, second: number): HistoryEvent[] => [
  ...[1, 2].flatMap((n) => [invoke(n * 10, ordered(n)), accepted(n * 10 + 1, `c${n}`, `t${n}`)]),
  attempted(first, { token: 't1', call: 'c1', nonce: 'n1' }),
  attempted(second, { token: 't2', call: 'c2', nonce: 'n2' }),
  answered(100),
  answered(101, { token: 't2', call: 'c2', echo: { token: 't2', nonce: 'n2' } }),
];
