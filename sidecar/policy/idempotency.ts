import type { AttemptRecord, CallFacts, Outcome, ResponseEvent } from '../model/call.ts';

const idempotentMethods = new Set([
  'GET',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PUT',
  'DELETE',
  // Registered by other specifications as safe (RFC 9110 §16.1.1): they only read.
  'PROPFIND',
  'REPORT',
  'SEARCH',
  'QUERY',
]);

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

/**
 * Whether a caller that has had this outcome is done with its call. The others bind their key all the same: such a call is
 * started again, or waits for an operator (contract, section 4).
 */
export function endsWithDelivery(outcome: Outcome): boolean {
  return outcome === 'answered' || outcome === 'cancelled' || outcome === 'answer-too-large';
}

/**
 * Whether a request whose content is its key becomes a call of its own although that content stands for the call `known`:
 * only where a caller has had its answer, because then the same thing is wanted a second time on purpose.
 */
export function isWantedAgain(known: KnownCall | undefined): boolean {
  return known?.kind === 'finished' && known.delivered && endsWithDelivery(known.response.outcome);
}
