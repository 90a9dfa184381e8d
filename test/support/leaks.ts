/** Something that must be gone when a test is over. */
interface Claim {
  readonly what: string;
  /** Ends it at once. */
  readonly destroy: () => void;
}

const open = new Map<object, Claim>();

/** Registers something that `expectNoLeaks` shall find until it is released. */
export function claim(token: object, entry: Claim): void {
  open.set(token, entry);
}

/** Takes it off again; a second time does nothing. */
export function release(token: object): void {
  open.delete(token);
}

/**
 * What the support started must be stopped. Checked after every file; a file that shares nothing between its tests says
 * `afterEach(expectNoLeaks)` as well and so learns which test it was. What is left is ended.
 *
 * @throws Error that names everything that was left open.
 */
export function expectNoLeaks(): void {
  const left = [...open.values()];
  open.clear();
  for (const entry of left) entry.destroy();
  if (left.length > 0) throw new Error(`left open by the test: ${left.map(({ what }) => what).join(', ')}`);
}
