import type { Msg } from '@nats-io/transport-node';
import { LinkedHashMap } from '../../collections/linked-hash-map.ts';
import type { ResponseEvent } from '../../model/call.ts';
import { readCallId, type InstanceTag } from '../../model/call-id.ts';
import { decodeResponse } from '../../model/codec.ts';
import type { AwaitedResponse } from '../port.ts';
import type { Connection } from './connection.ts';
import type { Lookup } from './lookup.ts';
import type { Subjects } from './subjects.ts';

/** When a response is looked up although no announcement came, ms after the last look; the last step repeats. */
const LOOK_AFTER = [500, 1_000, 2_000, 4_000, 8_000, 15_000];
const SWEEP = 250;
/** Look-ups under way at once, so that ten thousand held calls do not ask at the same moment after a reconnect. */
const LOOKUPS_AT_ONCE = 64;

interface Entry {
  readonly id: string;
  /** A response of an earlier round is the one that is being replaced. */
  round: number;
  waiters: ((response: ResponseEvent) => void)[];
  looks: number;
  lookAt: number;
  looking: boolean;
  readonly stop: (() => void) | undefined;
}

/**
 * The calls whose response is awaited here. A response is announced by the broker once it is stored (RePublish); the
 * announcement is at most once, so each awaited response is also looked up now and then, and at once after a reconnect.
 */
export class AwaitedResponses {
  readonly #connection: Connection;
  readonly #subjects: Subjects;
  readonly #lookup: Lookup;
  readonly #report: (error: Error) => void;
  readonly #caller: string;
  readonly #instance: InstanceTag;
  readonly #entries = new LinkedHashMap<string, Entry>();
  #lookups = 0;
  #sweep: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(
    connection: Connection,
    subjects: Subjects,
    lookup: Lookup,
    caller: string,
    instance: InstanceTag,
    report: (error: Error) => void,
  ) {
    this.#connection = connection;
    this.#subjects = subjects;
    this.#lookup = lookup;
    this.#caller = caller;
    this.#instance = instance;
    this.#report = report;
    connection.subscribe(subjects.announcedTo(caller, instance), (msg) => this.#announced(msg));
    connection.onUp(() => {
      for (const entry of this.#entries.values()) entry.lookAt = 0;
    });
  }

  add(id: string): AwaitedResponse {
    let entry = this.#entries.get(id);
    if (entry === undefined) {
      // The instance's own calls arrive by its one subscription; keyed calls and those of other instances by their own.
      const own = readCallId(id).instance === this.#instance;
      const stop = own
        ? undefined
        : this.#connection.subscribe(this.#subjects.announced(this.#caller, id), (msg) => this.#announced(msg));
      entry = {
        id,
        round: 1,
        waiters: [],
        looks: 0,
        lookAt: performance.now() + LOOK_AFTER[0]!,
        looking: false,
        stop,
      };
      this.#entries.set(id, entry);
      if (!this.#closed) this.#sweep ??= setInterval(() => this.#lookAround(), SWEEP);
    }
    const added = entry;
    let waiter!: (response: ResponseEvent) => void;
    const response = new Promise<ResponseEvent>((resolve) => (waiter = resolve));
    added.waiters.push(waiter);
    return {
      response,
      release: () => {
        if (!added.waiters.includes(waiter)) return;
        added.waiters = added.waiters.filter((other) => other !== waiter);
        if (added.waiters.length === 0) this.#drop(added);
      },
    };
  }

  /** Responses of rounds before `round` no longer answer this call. */
  expectRound(id: string, round: number): void {
    const entry = this.#entries.get(id);
    if (entry !== undefined && entry.round < round) entry.round = round;
  }

  #drop(entry: Entry): void {
    if (this.#entries.get(entry.id) !== entry) return;
    this.#entries.delete(entry.id);
    entry.stop?.();
    if (this.#entries.size === 0 && this.#sweep !== undefined) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }

  #announced(msg: Msg): void {
    const id = msg.subject.slice(msg.subject.lastIndexOf('.') + 1);
    const entry = this.#entries.get(id);
    if (entry !== undefined) this.#resolve(entry, msg.data);
  }

  #resolve(entry: Entry, data: Uint8Array): void {
    let response: ResponseEvent;
    try {
      response = decodeResponse(data);
    } catch (error) {
      this.#report(error as Error);
      return;
    }
    if (response.call.round < entry.round) return;
    this.#drop(entry);
    const { waiters } = entry;
    entry.waiters = [];
    for (const waiter of waiters) waiter(response);
  }

  #lookAround(): void {
    if (!this.#connection.connected) return;
    const now = performance.now();
    for (const entry of this.#entries.values()) {
      if (this.#lookups >= LOOKUPS_AT_ONCE) return;
      if (entry.looking || now < entry.lookAt) continue;
      entry.looking = true;
      this.#lookups++;
      this.#look(entry)
        .finally(() => {
          entry.looking = false;
          this.#lookups--;
        })
        .catch(this.#report);
    }
  }

  async #look(entry: Entry): Promise<void> {
    const { id } = entry;
    entry.looks++;
    entry.lookAt = performance.now() + LOOK_AFTER[Math.min(entry.looks, LOOK_AFTER.length - 1)]!;
    try {
      // Not found only means "ask again", so any replica may answer.
      const stream = this.#subjects.responseStreamOf(this.#caller, id);
      const stored = await this.#lookup.last(stream, this.#subjects.response(this.#caller, id), false);
      if (stored !== undefined && this.#entries.get(id) === entry) this.#resolve(entry, stored.data);
    } catch {
      // The broker is away or busy; this entry's next look is already planned, and a reconnect brings it forward.
    }
  }

  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) entry.stop?.();
    this.#entries.clear();
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }
}
