/**
 * Runs one thing at a time: a request while it runs makes it run once more afterwards, however many come.
 * @param task must not reject
 */
export function oneAtATime(task: () => Promise<void>): { request(): void; idle(): Promise<void> } {
  let again = false;
  let running: Promise<void> | undefined;
  const loop = async () => {
    do {
      again = false;
      await task();
    } while (again);
    running = undefined;
  };
  return {
    request() {
      again = true;
      running ??= loop();
    },
    idle: () => running ?? Promise.resolve(),
  };
}
