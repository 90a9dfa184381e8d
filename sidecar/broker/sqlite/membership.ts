import type { CallTable } from './call-table.ts';
import type { InstanceRow, Instances, LifeLock } from './instances.ts';

/** A sign of life is stored this often while leases are held, ms; with the next look, if that comes later. */
const beatEvery = 900;
/** An instance that holds leases and gives no new sign of life in this many looks has lost them. */
const silentLooks = 24;
/** Rows of instances that hold nothing are looked after this often, in looks. */
const tidyEvery = 120;

/**
 * This instance among those that share the file: takes part as soon as it takes a lease, and ends the leases of those
 * that are gone.
 *
 * A lease ends early in two ways. The process is gone: its lock is free, which the next look of any instance finds. Or
 * it is there and silent (suspended, or its event loop is stuck): then its count of signs of life stands still. Looks
 * are counted and not time, so that neither a clock that jumps nor an observer that was itself suspended ends the
 * lease of somebody who works. One's own signs are given by the clock: in an instance that has so much to do that its looks
 * are late, they would come too late by far if they were counted by looks.
 */
export class Membership {
  readonly #instances: Instances;
  readonly #calls: CallTable;
  readonly #self: { readonly service: string; readonly instance: string };
  readonly #silence = new Map<number, { beat: number; looks: number }>();
  #lock: LifeLock | undefined;
  #owner: number | undefined;
  #heard = false;
  #looks = 0;
  #signedAt = Number.NEGATIVE_INFINITY;

  constructor(instances: Instances, calls: CallTable, self: { service: string; instance: string }) {
    this.#instances = instances;
    this.#calls = calls;
    this.#self = self;
  }

  get owner(): number | undefined {
    return this.#owner;
  }

  /** Makes the lock that `join` will need; outside of any transaction. */
  prepare(): void {
    this.#lock ??= this.#instances.lock();
  }

  /** The number under which this instance holds leases; within a transaction. Counts only when that is committed. */
  join(): number {
    if (this.#owner !== undefined) return this.#owner;
    if (this.#lock === undefined) throw new Error('an instance without a lock cannot join');
    return this.#instances.register(this.#lock, this.#self.service, this.#self.instance);
  }

  joined(owner: number): void {
    this.#owner = owner;
  }

  /** All instances that hold or have held a lease and whose process is there, this one included. */
  living(): { readonly service: string }[] {
    return this.#instances.all().filter(({ token }) => this.#instances.isAlive(token));
  }

  /** The adapter says that it lives. */
  alive(): void {
    this.#heard = true;
  }

  /**
   * Whether `giveSign` is due. Advances the count of looks.
   * @param now on a clock that only goes forward, ms
   */
  look(now = performance.now()): { readonly sign: boolean; readonly gone: readonly InstanceRow[] } {
    this.#looks++;
    const sign = this.#owner !== undefined && this.#heard && now - this.#signedAt >= beatEvery;
    if (sign) this.#signedAt = now;
    return { sign, gone: this.#gone() };
  }

  /** Within a transaction. False: this instance was taken for dead. */
  giveSign(): boolean {
    this.#heard = false;
    return this.#owner === undefined || this.#instances.beat(this.#owner);
  }

  /** Ends the leases of an instance that is gone; within a transaction. How many there were. */
  evict(gone: InstanceRow): number {
    this.#silence.delete(gone.owner);
    // Another observer may have been faster, and then the leases are in other hands by now.
    return this.#instances.remove(gone.owner) ? this.#calls.releaseAll(gone.owner) : 0;
  }

  bury(gone: InstanceRow): void {
    this.#instances.bury(gone.token);
  }

  /** This instance holds nothing any more and begins anew with its next lease. */
  leave(): void {
    this.#owner = undefined;
    this.#lock?.release();
    this.#lock = undefined;
  }

  /** Gives all leases back; within a transaction. */
  resign(): void {
    if (this.#owner === undefined) return;
    this.#calls.releaseAll(this.#owner);
    this.#instances.remove(this.#owner);
  }

  #gone(): InstanceRow[] {
    const tidy = this.#looks % tidyEvery === 1;
    if (tidy) this.#instances.sweepStrays(Date.now());
    const others = this.#instances.others(this.#owner);
    const holding = new Set(others.filter((other) => other.holding).map((other) => other.row.owner));
    for (const owner of this.#silence.keys()) if (!holding.has(owner)) this.#silence.delete(owner);
    return others
      .filter((other) => (other.holding ? this.#isGone(other.row) : tidy && !this.#instances.isAlive(other.row.token)))
      .map((other) => other.row);
  }

  #isGone({ owner, token, beat }: InstanceRow): boolean {
    if (!this.#instances.isAlive(token)) return true;
    const silence = this.#silence.get(owner);
    if (silence === undefined || silence.beat !== beat) {
      this.#silence.set(owner, { beat, looks: 0 });
      return false;
    }
    return ++silence.looks >= silentLooks;
  }
}
