import type { ServerResponse } from 'node:http';
import { LinkedList } from '../collections/linked-list.ts';
import type { OutboundConfig } from '../config/config.ts';
import { refusingLimit } from '../policy/admission.ts';
import type { Exchange } from './exchange.ts';
import type { Hold } from './hold.ts';

/** Every caller whose connection is kept open, and how much of them fits. */
export class Holds {
  limits: OutboundConfig['limits'];
  readonly #holds = new LinkedList<Hold>();
  #bytes = 0;

  constructor(limits: OutboundConfig['limits']) {
    this.limits = limits;
  }

  get count(): number {
    return this.#holds.size;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** A snapshot: ending a hold takes it off. */
  all(): Hold[] {
    return this.#holds.values();
  }

  /** Whether a caller waits here for a call of which this request is an attempt that came back. */
  hasComeBack({ facts, method, service }: Exchange): boolean {
    const { callId } = facts;
    if (callId === undefined) return false;
    // Services pass fields on that they do not know: the id alone says nothing.
    const isSame = (hold: Hold) => hold.exchange.method === method && hold.exchange.service === service;
    return this.all().some((hold) => hold.callId === callId && isSame(hold));
  }

  /** @returns the limit that refuses, undefined when `hold` is in with this many bytes */
  admit(hold: Hold, bytes: number): 'held' | 'heldBytes' | undefined {
    const refusal = refusingLimit(this.#load(), this.limits, { calls: 1, bytes });
    if (refusal !== undefined) return refusal;
    hold.place = this.#holds.add(hold);
    hold.bytes = bytes;
    this.#bytes += bytes;
    return undefined;
  }

  /** More of a body that is being read; false where it does not fit. */
  grow(hold: Hold, bytes: number): boolean {
    if (refusingLimit(this.#load(), this.limits, { calls: 0, bytes }) !== undefined) return false;
    hold.bytes += bytes;
    this.#bytes += bytes;
    return true;
  }

  /** Another count of the bytes of one that is held; false, and nothing changes, where more do not fit. */
  resize(hold: Hold, bytes: number): boolean {
    if (bytes > hold.bytes) return this.grow(hold, bytes - hold.bytes);
    this.#bytes -= hold.bytes - bytes;
    hold.bytes = bytes;
    return true;
  }

  /**
   * An answer that its caller reads slowly is in memory, too, until `res` is closed. It is there already, so that it is
   * counted and never refused: what does not fit any more are new calls.
   */
  keepUnread(res: ServerResponse, bytes: number): void {
    this.#bytes += bytes;
    res.once('close', () => {
      this.#bytes -= bytes;
    });
  }

  /** A second time does nothing. */
  release(hold: Hold): void {
    if (hold.place?.remove() !== true) return;
    this.#bytes -= hold.bytes;
  }

  #load() {
    return { held: this.#holds.size, heldBytes: this.#bytes };
  }
}
