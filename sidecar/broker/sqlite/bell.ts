import { closeSync, constants, fstatSync, openSync, statSync, watch, writeSync, type FSWatcher } from 'node:fs';

/**
 * Tells the other processes that something was committed. A file next to the database is written to *after* each
 * commit; the operating system tells everyone who watches it. The database's own files would not do: they are written
 * before the commit can be seen.
 *
 * A ring is a hint. It is lost when a process dies between its commit and its ring, or where watching is impossible, so
 * whoever listens also looks now and then by itself.
 */
export class Bell {
  readonly #path: string;
  readonly #onRing: () => void;
  readonly #onProblem: (problem: Error) => void;
  readonly #byte = Buffer.alloc(1);
  #fd: number | undefined;
  #watcher: FSWatcher | undefined;

  /** @param onRing somebody rang, maybe this process itself */
  constructor(file: string, onRing: () => void, onProblem: (problem: Error) => void) {
    this.#path = `${file}-bell`;
    this.#onRing = onRing;
    this.#onProblem = onProblem;
    this.#open();
  }

  /** False where other processes are noticed by looking only. */
  get works(): boolean {
    return this.#watcher !== undefined;
  }

  ring(): void {
    if (this.#fd === undefined) return;
    try {
      writeSync(this.#fd, this.#byte, 0, 1, 0);
    } catch (error) {
      // Such as a full disk: the others look by themselves, only later.
      this.#onProblem(new Error(`cannot write to ${this.#path}`, { cause: error }));
    }
  }

  /** Where somebody has deleted or replaced the file, everyone must meet at the new one. To be called now and then. */
  check(): void {
    if (this.#fd === undefined || fstatSync(this.#fd).ino === statSync(this.#path, { throwIfNoEntry: false })?.ino)
      return;
    this.close();
    this.#open();
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #open(): void {
    try {
      this.#fd = openSync(this.#path, constants.O_RDWR | constants.O_CREAT, 0o644);
      this.#watch();
    } catch (error) {
      // Such as the limit on watches: looking now and then still finds everything.
      this.#onProblem(new Error(`cannot watch ${this.#path}; other processes are noticed later`, { cause: error }));
    }
  }

  #watch(): void {
    const watcher = watch(this.#path, () => this.#onRing());
    watcher.on('error', (error) => this.#onProblem(error));
    this.#watcher = watcher;
  }
}
