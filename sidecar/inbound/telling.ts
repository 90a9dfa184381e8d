import { bodySize, factsOf, type ActionEvent, type Progress, type TraceContext } from '../model/call.ts';
import type { Lease } from '../broker/port.ts';
import { attemptStarting, type AttemptStarting, deliveryStarted } from '../telemetry/channels.ts';
import type { Target } from './target.ts';

/** A lease at hand, as those who listen know it again. */
interface Delivery {
  readonly lease: Lease;
  readonly progress: Progress;
}

/** What a message about a call says of its trace. */
export function traceOf({ trace }: ActionEvent): { trace?: TraceContext } {
  return trace === undefined ? {} : { trace };
}

/** Tells that a delivery has begun. */
export function tellDelivery(held: Delivery): void {
  const { action, progress } = held.lease;
  const bodyBytes = bodySize(action);
  deliveryStarted.publish({ delivery: held, call: factsOf(action), progress, bodyBytes, ...traceOf(action) });
}

/** The action as this attempt sends it: with the context of the attempt, where somebody keeps one. */
export function traced(held: Delivery, attempt: number, { host, port, tls, prefix }: Target): ActionEvent {
  const { action } = held.lease;
  const to = { host, port, secure: tls !== undefined, prefix };
  const starting: AttemptStarting = { delivery: held, call: factsOf(action), attempt, to, ...traceOf(action) };
  attemptStarting.publish(starting);
  return { ...action, ...(starting.trace !== undefined && { trace: starting.trace }) };
}
