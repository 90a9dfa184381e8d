import { LinkedList, type Link } from './linked-list.ts';

/** So many of the last characters of a key make its hash: of an id they are the random ones, of a counter those that count. */
const TELLING = 12;
const FIRST_BUCKETS = 16;

interface Entry<K, V> {
  readonly key: K;
  value: V;
  readonly hash: number;
  /** The next one in the same bucket. */
  next: Entry<K, V> | undefined;
  place: Link<Entry<K, V>> | undefined;
}

/**
 * A map whose keys are in the order in which they were set first, for what comes and goes with each call: see {@link LinkedList}
 * for what is wrong with a `Map` there. Keys that have their last twelve characters in common are as slow as a list; they must
 * not be such that others can choose them so.
 *
 * It does not shrink: its buckets stay as many as were needed at most.
 */
export class LinkedHashMap<K extends string | number, V> {
  #buckets: (Entry<K, V> | undefined)[] = emptyBuckets(FIRST_BUCKETS);
  readonly #order = new LinkedList<Entry<K, V>>();

  get size(): number {
    return this.#order.size;
  }

  get(key: K): V | undefined {
    return this.#find(key, hashOf(key))?.value;
  }

  has(key: K): boolean {
    return this.#find(key, hashOf(key)) !== undefined;
  }

  /** A key that is there already keeps its place and gets the new value. */
  set(key: K, value: V): void {
    const hash = hashOf(key);
    const known = this.#find(key, hash);
    if (known !== undefined) {
      known.value = value;
      return;
    }
    if (this.size >= this.#buckets.length) this.#grow();
    const at = hash & (this.#buckets.length - 1);
    const entry: Entry<K, V> = { key, value, hash, next: this.#buckets[at], place: undefined };
    entry.place = this.#order.add(entry);
    this.#buckets[at] = entry;
  }

  /** False where there is no such key. */
  delete(key: K): boolean {
    const hash = hashOf(key);
    const at = hash & (this.#buckets.length - 1);
    let earlier: Entry<K, V> | undefined;
    for (let entry = this.#buckets[at]; entry !== undefined; entry = entry.next) {
      if (entry.hash === hash && entry.key === key) {
        if (earlier === undefined) this.#buckets[at] = entry.next;
        else earlier.next = entry.next;
        // What is off must not keep what is on.
        entry.next = undefined;
        entry.place?.remove();
        return true;
      }
      earlier = entry;
    }
    return false;
  }

  clear(): void {
    for (const { key } of this.#order.values()) this.delete(key);
  }

  /** A snapshot, the eldest first. */
  values(): V[] {
    return this.#order.values().map(({ value }) => value);
  }

  /** A snapshot, the eldest first. */
  entries(): [K, V][] {
    return this.#order.values().map(({ key, value }) => [key, value]);
  }

  #find(key: K, hash: number): Entry<K, V> | undefined {
    let entry = this.#buckets[hash & (this.#buckets.length - 1)];
    while (entry !== undefined && (entry.hash !== hash || entry.key !== key)) entry = entry.next;
    return entry;
  }

  #grow(): void {
    const buckets = emptyBuckets<K, V>(this.#buckets.length * 2);
    for (const entry of this.#order.values()) {
      const at = entry.hash & (buckets.length - 1);
      entry.next = buckets[at];
      buckets[at] = entry;
    }
    this.#buckets = buckets;
  }
}

function emptyBuckets<K, V>(count: number): (Entry<K, V> | undefined)[] {
  return Array.from<Entry<K, V> | undefined>({ length: count }).fill(undefined);
}

/** Of the last characters, FNV-1a; a number is its own. */
function hashOf(key: string | number): number {
  if (typeof key === 'number') return key;
  let hash = 0x811c9dc5;
  for (let at = Math.max(0, key.length - TELLING); at < key.length; at++) {
    hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  }
  return hash ^ (hash >>> 15);
}
