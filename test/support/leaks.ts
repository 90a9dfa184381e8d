/** Something that must be gone when a test is over. */
interface Claim {
  readonly what: string;
  /** Ends it at once, synchronously: also called while this process exits. */
  readonly destroy: () => void;
}

const open = new Map<object, Claim>();

// Nothing that a test started may go on when its process is gone, however that came about.
process.once('exit', () => {
  for (const entry of open.values()) entry.destroy();
});

/** Registers something that `expectNoLeaks` shall find until it is released. */
export function claim(token: object, entry: Claim): void {
  open.set(token, entry);
}

/** Takes it off again; a second time does nothing. */
export function release(token: object): void {
  open.delete(token);
}

/**
 * For `afterEach`, or `afterAll` where a file shares its servers: what the support started must be stopped.
 * What is left is ended, so that it disturbs no other test.
 *
 * @throws Error that names everything that was left open.
 */
export function expectNoLeaks(): void {
  const left = [...open.values()];
  open.clear();
  for (const entry of left) entry.destroy();
  if (left.length > 0) throw new Error(`left open by the test: ${left.map(({ what }) => what).join(', ')}`);
}
