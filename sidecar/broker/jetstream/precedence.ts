import { isDeadLetter, type ResponseEvent } from '../../model/call.ts';

/** What a response event claims for its call. */
type Claim = Pick<ResponseEvent, 'outcome'> & { readonly call: Pick<ResponseEvent['call'], 'round'> };

/**
 * Whether `event` may take the place of a stored response. The first one wins, with two exceptions: a real answer takes the
 * place of Holdline's own outcome of the same round, and a later round that of an earlier one.
 */
export function replaces(event: Claim, stored: Claim): boolean {
  if (!mayBeReplaced(stored)) return false;
  if (event.call.round > stored.call.round) return true;
  return event.call.round === stored.call.round && event.outcome === 'answered' && isDeadLetter(stored.outcome);
}

/** Whether a stored response ends this round of its call for good, so that the round need not be run. */
export function endsRound(stored: Claim, round: number): boolean {
  return stored.call.round >= round || !mayBeReplaced(stored);
}

/** A call that was answered or cancelled is over; a dead letter, discarded or not, may be followed by a further round. */
function mayBeReplaced({ outcome }: Claim): boolean {
  return isDeadLetter(outcome) || outcome === 'discarded';
}
