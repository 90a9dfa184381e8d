import type { BrokerConfig } from '../../sidecar/config/config.ts';
import type { BodyRef } from '../../sidecar/model/call.ts';

/** A broker that the contract of `sidecar/broker/port.ts` is tested on. */
export interface Candidate {
  /** For the titles only; no test asks for it. */
  readonly name: string;
  readonly supports: Supports;
  /** Makes an empty backend that shares nothing with any other. */
  freshBackend(options: BackendOptions): Promise<Backend>;
}

/** `true`, or why the tests that need it are skipped. */
export type Support = true | { readonly reason: string };

/** What not every engine has, or not every set-up of it. Everything that is not named here is the contract of all. */
export interface Supports {
  /** The backend is a process of its own, which `kill` and `restart` can handle. */
  readonly ownProcess: Support;
  /** What was accepted before the backend was full can be carried out while it is. */
  readonly answersWhileFull: Support;
  /** A key is free as soon as its response is past the retention, however short that is. */
  readonly shortRetentionOfKeys: Support;
  /** Calls with the same order key run one after another. */
  readonly orderKeys: Support;
  /** Deliveries of a subscription with the same order key are made one after another. */
  readonly orderOfDeliveries: Support;
}

export interface BackendOptions {
  /** ms; what is not given is so long that it plays no part. */
  readonly retention?: Partial<BrokerConfig['retention']>;
  /** How much it takes before it is full, about. */
  readonly maxBytes?: number;
}

export interface Backend extends AsyncDisposable {
  /** What a configuration says of it; opens the same backend in any process. */
  readonly config: BrokerConfig;
  /** kill -9. */
  readonly kill?: () => Promise<void>;
  /** Brings it back, with what it had stored, where it was. */
  readonly restart?: () => Promise<void>;
  /** How many chunks of bodies are stored. */
  bodyChunks(): Promise<number>;
  /** Takes away chunk `n` of a body, or puts other bytes in its place. */
  damage(ref: BodyRef, n: number, how: 'missing' | 'corrupt'): Promise<void>;
  /** Takes `maxBytes` off; who has it open opens it anew. */
  grow(): Promise<void>;
}

const hour = 3_600_000;

/** Retention that no test sees the end of, unless it asks for it. */
export const longRetention: BrokerConfig['retention'] = {
  responses: hour,
  keyed: 24 * hour,
  broadcasts: 24 * hour,
  deadLetters: 720 * hour,
};
