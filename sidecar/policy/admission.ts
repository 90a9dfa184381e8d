import type { OutboundConfig } from '../config/config.ts';

/** What is held right now. */
export interface Load {
  /** Callers whose connection is kept open. */
  readonly held: number;
  /** Bytes of their requests in memory. */
  readonly heldBytes: number;
}

/**
 * Whether one more caller (`calls` 1) or more bytes of one that is held already (`calls` 0) still fit.
 * @returns the limit that refuses, undefined when there is room
 */
export function refusingLimit(
  load: Load,
  limits: OutboundConfig['limits'],
  more: { readonly calls: 0 | 1; readonly bytes: number },
): 'held' | 'heldBytes' | undefined {
  // After a reload more may be held than now would be let in: those stay.
  if (more.calls > 0 && load.held + more.calls > limits.held) return 'held';
  if (more.bytes > 0 && load.heldBytes + more.bytes > limits.heldBytes) return 'heldBytes';
  return undefined;
}
