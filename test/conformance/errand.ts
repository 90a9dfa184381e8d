import type { OrderKey } from '../../sidecar/config/config.ts';
import type { ContentClaim } from '../../sidecar/broker/port.ts';
import type { ActionEvent } from '../../sidecar/model/call.ts';

/** What a process of its own is sent to do. It tells what it does in lines of `verb rest`. */
export type Errand =
  /** Stores calls, eight at a time, without end. Tells `accepted ID`. */
  | { readonly kind: 'store-without-end' }
  /**
   * Takes calls without end and answers some, postpones some, releases some. Tells `sent ID ATTEMPT` where an attempt would be made,
   * `finished ID TEXT`, `returned ID` after a start was taken back.
   */
  | { readonly kind: 'work-without-end'; readonly instance: string; readonly seed: number }
  /** Takes one call, starts it where `start`, and keeps it. Tells `holds ID`; answers with `text` when the lease is lost. */
  | { readonly kind: 'hold'; readonly start: boolean; readonly text: string }
  /** Takes one delivery of a subscription, starts it, and keeps it. Tells `holds ID`. */
  | {
      readonly kind: 'hold-delivery';
      readonly service: string;
      readonly name: string;
      readonly topic: string;
      readonly orderBy?: OrderKey;
    }
  /** Writes the body of a request. Tells `wrote BYTES` for each part that was taken, `whole REFERENCE`. */
  | { readonly kind: 'write-body'; readonly id: string; readonly size: number }
  /** Does one operation and dies of SIGKILL in the moment in which it is acknowledged. */
  | { readonly kind: 'die-acknowledged'; readonly operation: Operation }
  /** Does one operation and dies of SIGKILL while it is under way, after this many turns of the event loop. */
  | { readonly kind: 'die-underway'; readonly operation: Operation; readonly turns: number };

/** Each is done to the one call that is there, or with `action`. */
export type Operation =
  | { readonly name: 'store'; readonly action: Omit<ActionEvent, 'body'>; readonly body: string }
  | { readonly name: 'claim'; readonly claim: ContentClaim }
  /** `publish`: finished calls are published, too. */
  | { readonly name: 'start' | 'postpone' | 'start-release' | 'finish' | 'finish-dead'; readonly publish?: boolean }
  | { readonly name: 'withdraw' | 'replay' | 'discard' | 'mark-delivered'; readonly id: string };
