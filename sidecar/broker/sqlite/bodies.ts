import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { discard } from '../../http/body.ts';
import type { BodyRef } from '../../model/call.ts';
import { BodyTraffic, CHUNK_SIZE, readChunks, Removals, storeChunks } from '../chunks.ts';
import { BodyLost, BrokerUnavailable, type BodyPlace, type BodyStore } from '../port.ts';
import type { DatabaseThread } from './thread.ts';

/** How long a reader waits for a file that cannot be read, ms. */
const readPatience = 30_000;
const tryAgain = 250;
/** Chunks whose memory is kept for the next ones at most. */
const freeKept = 64;

/** Bodies in a table of chunks, on the embedded log. */
export class SqliteBodies implements BodyStore {
  readonly #thread: DatabaseThread;
  readonly #report: (error: Error) => void;
  readonly removals: Removals;
  readonly #traffic = new BodyTraffic();
  /** Memory of chunks that are stored. */
  readonly #free: SharedArrayBuffer[] = [];

  constructor(thread: DatabaseThread, report: (error: Error) => void) {
    this.#thread = thread;
    this.#report = report;
    this.removals = new Removals(report);
  }

  async write({ kind }: BodyPlace, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<BodyRef> {
    const id = randomUUID();
    const kept = kind !== 'request';
    const put = async (n: number, bytes: Uint8Array) => {
      await this.#thread.ask('putChunk', { id, n, bytes, kept });
      if (this.#free.length < freeKept) this.#free.push(bytes.buffer as SharedArrayBuffer);
    };
    // Shared with the thread instead of copied, and used again: a copy here and one there would be garbage for each chunk.
    const room = () => Buffer.from(this.#free.pop() ?? new SharedArrayBuffer(CHUNK_SIZE));
    const abandoned = (settled: Promise<unknown>) => {
      this.removals.add(settled.then(() => this.#thread.ask('forgetBody', { id })));
    };
    return { id, ...(await storeChunks(source, { room, put, signal, traffic: this.#traffic, abandoned })) };
  }

  async *read(ref: BodyRef): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const bytes of readChunks(ref, (n) => this.#chunk(ref.id, n), this.#traffic)) {
      yield bytes;
      discard(bytes);
    }
  }

  /** A file that is locked for long, or a thread that is being replaced, must not break off what is under way. */
  async #chunk(id: string, n: number): Promise<Uint8Array> {
    const end = performance.now() + readPatience;
    for (;;) {
      try {
        const bytes = await this.#thread.ask('chunk', { id, n });
        if (bytes === undefined) throw new BodyLost(`chunk ${n} of the body ${id} is not stored any more`);
        return bytes;
      } catch (error) {
        if (!(error instanceof BrokerUnavailable) || this.#thread.isClosed || performance.now() > end) throw error;
        await pause(tryAgain);
      }
    }
  }

  async forget(ref: BodyRef): Promise<void> {
    try {
      await this.#thread.ask('forgetBody', { id: ref.id });
    } catch (error) {
      this.#report(error as Error);
    }
  }
}
