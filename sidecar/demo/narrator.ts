import { styleText } from 'node:util';

type Mark = 'chapter' | 'event' | 'fault' | 'check' | 'failure';

const marks: Record<Mark, string> = { chapter: '==', event: '--', fault: '!!', check: 'ok', failure: 'XX' };
const styles = { chapter: 'bold', event: 'reset', fault: 'yellow', check: 'green', failure: 'red' } as const;

/** Something that the story promised did not happen. */
class BrokenPromise extends Error {
  override readonly name = 'BrokenPromise';
}

/**
 * Tells the story as it happens, one line each with the time since the start, readable in a terminal and in a plain log, and keeps
 * what the summary at the end needs.
 */
export class Narrator {
  readonly #start = performance.now();
  readonly #write: (line: string) => void;
  readonly #chapters: { title: string; held: boolean; note: string; ms: number }[] = [];

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  #line(mark: Mark, text: string): void {
    const seconds = ((performance.now() - this.#start) / 1000).toFixed(2).padStart(6);
    this.#write(styleText(styles[mark], `${seconds}s ${marks[mark]} ${text}`, { stream: process.stdout }));
  }

  event(text: string): void {
    this.#line('event', text);
  }

  fault(text: string): void {
    this.#line('fault', text);
  }

  /** @throws {BrokenPromise} when `held` is false */
  check(held: boolean, text: string): void {
    this.#line(held ? 'check' : 'failure', text);
    if (!held) throw new BrokenPromise(text);
  }

  /** Plays one part of the story; its note is what the summary says of it. A failure is told, and the story goes on. */
  async chapter(title: string, play: () => Promise<string>): Promise<void> {
    this.#write('');
    this.#line('chapter', title);
    const start = performance.now();
    let note: string;
    let held = true;
    try {
      note = await play();
    } catch (error) {
      held = false;
      note = (error as Error).message;
      if (!(error instanceof BrokenPromise)) this.#line('failure', note);
    }
    this.#chapters.push({ title, held, note, ms: performance.now() - start });
  }

  /** Prints the table; true when every part held. */
  summary(): boolean {
    const width = Math.max(...this.#chapters.map(({ title }) => title.length));
    this.#write('');
    this.#line('chapter', 'summary');
    for (const { title, held, note, ms } of this.#chapters) {
      const line = `  ${held ? 'held  ' : 'BROKEN'}  ${title.padEnd(width)}  ${(ms / 1000).toFixed(2).padStart(6)}s  ${note}`;
      this.#write(styleText(held ? 'green' : 'red', line, { stream: process.stdout }));
    }
    return this.#chapters.every(({ held }) => held);
  }

  say(text: string): void {
    this.#write(text);
  }
}
