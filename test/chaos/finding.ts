import type { Evidence } from './evidence.ts';

/** What a rule has found, of whichever of these it is known. */
export interface Finding {
  readonly what: string;
  readonly token?: string;
  readonly call?: string;
  /** The id of a broadcast event. */
  readonly event?: string;
}

/** A promise of the contract, as what breaks it. */
export type Rule = (evidence: Evidence) => Iterable<Finding>;
