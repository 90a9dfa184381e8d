/** The place of a value in a {@link LinkedList}. */
export class Link<T> {
  #list: LinkedList<T> | undefined;
  readonly value: T;
  /** The neighbours. For {@link LinkedList} only. */
  before: Link<T> | undefined;
  after: Link<T> | undefined;

  /** @internal Made by {@link LinkedList.add}. */
  constructor(list: LinkedList<T>, value: T) {
    this.#list = list;
    this.value = value;
  }

  /** Takes the value off the list; false where it is off already. */
  remove(): boolean {
    const list = this.#list;
    if (list === undefined) return false;
    this.#list = undefined;
    list.unlink(this);
    return true;
  }
}

/**
 * Values in the order in which they were added, for what comes and goes with each call (ADR 0022).
 *
 * A `Set` keeps the tables that it has outgrown, or thinned out, in a chain: each refers to the next. Once one of them has become old
 * in the eyes of V8's collector, all that follow are kept until the next full collection, with everything that was in them.
 */
export class LinkedList<T> {
  #first: Link<T> | undefined;
  #last: Link<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Appends a value. Keep what is returned: it is the only way to take off this one. */
  add(value: T): Link<T> {
    const link = new Link(this, value);
    link.before = this.#last;
    if (this.#last === undefined) this.#first = link;
    else this.#last.after = link;
    this.#last = link;
    this.#size++;
    return link;
  }

  /** Takes off the eldest value; undefined where there is none. */
  shift(): T | undefined {
    const link = this.#first;
    link?.remove();
    return link?.value;
  }

  /** A snapshot, the eldest first. */
  values(): T[] {
    const values: T[] = [];
    for (let link = this.#first; link !== undefined; link = link.after) values.push(link.value);
    return values;
  }

  /** For {@link Link.remove} only: `link` is on this list. */
  unlink(link: Link<T>): void {
    const { before, after } = link;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    // What is off must not keep what is on.
    link.before = undefined;
    link.after = undefined;
    this.#size--;
  }
}
