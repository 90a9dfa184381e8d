import { isDeadLetter, type Outcome } from '../../model/call.ts';

/** What one response event claims. */
interface Claim {
  readonly round: number;
  readonly outcome: Outcome;
}

/**
 * Whether `incoming` becomes the response event of its call. The first one wins, with two exceptions: a real answer takes
 * the place of Holdline's own outcome of the same round, and the next round of a dead letter that of the earlier one.
 *
 * | stored                          | open round  | incoming                    | becomes it                        |
 * |---------------------------------|-------------|-----------------------------|-----------------------------------|
 * | an answer, or cancelled         | any         | any                         | no                                |
 * | Holdline's own, earlier round   | any         | any                         | yes                               |
 * | Holdline's own, same round      | any         | a real answer               | yes                               |
 * | Holdline's own, same or later   | any         | anything else               | no                                |
 * | nothing                         | the same    | any                         | yes                               |
 * | nothing                         | a later one | a real answer               | yes: the call need not run again  |
 * | nothing                         | a later one | anything else               | no                                |
 * | nothing                         | none        | any                         | no: it was discarded or is long past |
 */
export function becomesResponse(incoming: Claim, stored: Claim | undefined, openRound: number | undefined): boolean {
  const real = incoming.outcome === 'answered';
  if (stored !== undefined) {
    if (!isDeadLetter(stored.outcome)) return false;
    return incoming.round > stored.round || (incoming.round === stored.round && real);
  }
  if (openRound === undefined) return false;
  return incoming.round === openRound || (incoming.round < openRound && real);
}

/** Whether a stored response settles `round` of its call, so that the round need not be run. */
export function settlesRound(stored: Claim, round: number): boolean {
  return stored.round >= round || !isDeadLetter(stored.outcome);
}

/** What is known of a call that somebody wants to take back. */
export interface CallState {
  /** An attempt is under way as far as anybody knows. */
  readonly running: boolean;
  /** A guarded call has its start on record, and no end. */
  readonly marked: boolean;
  /** Started attempts that died with their sidecar. */
  readonly unaccounted: number;
  /** Attempts on record, of all rounds. */
  readonly attempts: number;
}

/**
 * Whether a call may be taken back: for `cancelled` nothing may ever have been sent, for `deadline-exceeded` no attempt
 * may be under way. A start mark counts as under way, because its attempt may have happened and that must be told.
 */
export function mayWithdraw(call: CallState, outcome: 'cancelled' | 'deadline-exceeded'): boolean {
  if (call.running || call.marked) return false;
  return outcome === 'deadline-exceeded' || (call.unaccounted === 0 && call.attempts === 0);
}
