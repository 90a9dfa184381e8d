import type { ActionEvent } from '../../model/call.ts';
import type { StoredProgress } from '../../model/codec.ts';

/** Names a round of a call among all that an instance has in hand. */
export function keyOf({ id, round }: ActionEvent): string {
  return `${id}:${round}`;
}

/** A delivery that is not handed out yet, because its past is being looked up. */
export class Inspection {
  reply: string;
  /** As the server counts them. */
  deliveries: number;

  constructor(reply: string, deliveries: number) {
    this.reply = reply;
    this.deliveries = deliveries;
  }

  /** The newest time, as plain data. */
  get delivered(): { readonly reply: string; readonly deliveries: number } {
    const { reply, deliveries } = this;
    return { reply, deliveries };
  }

  redelivered(reply: string, deliveries: number): void {
    this.reply = reply;
    this.deliveries = deliveries;
  }

  /** Whether an earlier delivery may have sent an idempotent call, whose starts are not on record. */
  hidesAttempt(action: ActionEvent, stored: StoredProgress | undefined): boolean {
    return (
      action.idempotent && stored?.progress.started === undefined && this.deliveries - 1 > (stored?.accounted ?? 0)
    );
  }
}
