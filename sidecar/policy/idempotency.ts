import type { AttemptRecord, CallFacts, ResponseEvent } from '../model/call.ts';

const idempotentMethods = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE', 'PUT', 'DELETE']);

/** Whether a method may be repeated by its definition (RFC 9110 §9.2.2). Methods are case-sensitive. */
export function isIdempotentMethod(method: string): boolean {
  return idempotentMethods.has(method);
}

/** What the broker knows about the call that owns a key. */
export type KnownCall =
  | { readonly kind: 'open'; readonly call: CallFacts; readonly fingerprint: string }
  | { readonly kind: 'finished'; readonly response: ResponseEvent; readonly delivered: boolean };

/** What a request with a key becomes. */
export type KeyedStep =
  /** A call of its own, or the next round of the one before. */
  | { readonly kind: 'store'; readonly round: number; readonly earlier: readonly AttemptRecord[] }
  | { readonly kind: 'attach'; readonly call: CallFacts }
  /** `replayed`: a caller has had this answer before. */
  | { readonly kind: 'serve'; readonly response: ResponseEvent; readonly replayed: boolean }
  | { readonly kind: 'key-reused' };

/**
 * Attaching (contract, section 4). The key of a call that a dead letter ended without a doubt about what the callee
 * did starts it again; one whose outcome is unknown does not, until an operator decides; a discarded one is free.
 */
export function decideKeyed(known: KnownCall | undefined, fingerprint: string): KeyedStep {
  if (known === undefined) return { kind: 'store', round: 1, earlier: [] };
  if (known.kind === 'open') {
    return known.fingerprint === fingerprint ? { kind: 'attach', call: known.call } : { kind: 'key-reused' };
  }
  const { response, delivered } = known;
  const round = response.call.round + 1;
  if (response.outcome === 'discarded') return { kind: 'store', round, earlier: [] };
  if (response.fingerprint !== fingerprint) return { kind: 'key-reused' };
  if (response.outcome === 'exhausted' || response.outcome === 'deadline-exceeded') {
    return { kind: 'store', round, earlier: response.attempts };
  }
  return { kind: 'serve', response, replayed: delivered };
}
