/**
 * Remembers the last keys that it was told, at least `size` of them and at most twice as many. In two halves, of which the older
 * is dropped as a whole: a set from which the oldest is deleted one by one walks over the gaps at each step.
 */
export class RecentKeys {
  readonly #size: number;
  #newer = new Set<string>();
  #older = new Set<string>();

  constructor(size: number) {
    this.#size = size;
  }

  add(key: string): void {
    if (this.#newer.size >= this.#size) {
      this.#older = this.#newer;
      this.#newer = new Set();
    }
    this.#newer.add(key);
  }

  has(key: string): boolean {
    return this.#newer.has(key) || this.#older.has(key);
  }
}
