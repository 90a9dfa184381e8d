import { BodySweeper } from './body-sweeper.ts';
import type { Context } from './context.ts';

/**
 * How long a record outlives its call, ms. The server writes acknowledgements to disk later than it confirms messages; killed in
 * between it offers the action again, and then this record is what keeps it from running twice.
 */
const KEEP = 60_000;
const TICK = 1_000;
/** Deletions per tick at most, so that cleaning never crowds out calls. */
const PER_TICK = 2_000;
const AT_ONCE = 16;

/** Deletes the attempt records of settled calls, a while after they settled. */
export class RecordCleaner {
  readonly #context: Context;
  readonly #service: string;
  readonly #keep: number;
  readonly #bodies: BodySweeper;
  readonly #due: { seq: number; at: number }[] = [];
  #head = 0;
  #timer: NodeJS.Timeout | undefined;
  #working = false;
  #sweeping = false;
  #closed = false;

  /** @param keep how long a record outlives its call, ms */
  constructor(context: Context, service: string, keep = KEEP) {
    this.#context = context;
    this.#service = service;
    this.#keep = keep;
    this.#bodies = new BodySweeper(context, service);
  }

  /** Plans the deletion of a record by its sequence. */
  add(seq: number): void {
    if (this.#closed) return;
    this.#due.push({ seq, at: performance.now() + this.#keep });
    this.#timer ??= setInterval(() => {
      this.#tick().catch(this.#context.report);
    }, TICK);
  }

  async #tick(): Promise<void> {
    if (this.#working || !this.#context.connection.connected) return;
    this.#working = true;
    const { lookup, subjects } = this.#context;
    const stream = subjects.attemptStream(this.#service);
    try {
      const now = performance.now();
      for (let done = 0; done < PER_TICK; done += AT_ONCE) {
        const batch: number[] = [];
        while (batch.length < AT_ONCE && (this.#due[this.#head]?.at ?? Infinity) <= now)
          batch.push(this.#due[this.#head++]!.seq);
        if (batch.length === 0) break;
        await Promise.all(batch.map((seq) => lookup.remove(stream, seq)));
      }
    } catch (error) {
      // What is left over is found by the next sweep.
      this.#context.report(error as Error);
    } finally {
      this.#working = false;
      if (this.#head > 10_000 || this.#head === this.#due.length) {
        this.#due.splice(0, this.#head);
        this.#head = 0;
      }
      if (this.#due.length === 0) this.#pause();
    }
  }

  /** Plans the deletion of what crashed sidecars left behind: records whose call is no longer open, and bodies. */
  sweep(): void {
    this.#bodies.sweep().catch(this.#context.report);
    if (this.#sweeping) return;
    this.#sweeping = true;
    this.#sweep()
      .catch((error: Error) => {
        if (this.#context.connection.connected) this.#context.report(error);
      })
      .finally(() => (this.#sweeping = false));
  }

  async #sweep(): Promise<void> {
    const { streams, subjects, lookup } = this.#context;
    const manager = await streams.manager();
    const records = await subjectsOf(manager, subjects.attemptStream(this.#service));
    if (records.length === 0) return;
    const open = new Set(
      (await subjectsOf(manager, subjects.actionStream(this.#service))).map((subject) =>
        subject.slice(subject.lastIndexOf('.') + 1),
      ),
    );
    for (const subject of records) {
      if (this.#context.closing.aborted) return;
      const id = subject.split('.').at(-2) ?? '';
      if (open.has(id)) continue;
      const record = await lookup.last(subjects.attemptStream(this.#service), subject, false);
      if (record !== undefined) this.add(record.seq);
    }
  }

  #pause(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  close(): void {
    this.#closed = true;
    this.#bodies.close();
    this.#pause();
  }
}

type Manager = Awaited<ReturnType<Context['streams']['manager']>>;

/** The subjects that have a message in this stream. */
async function subjectsOf(manager: Manager, stream: string): Promise<string[]> {
  const info = await manager.streams.info(stream, { subjects_filter: '>' });
  return Object.keys(info.state.subjects ?? {});
}
