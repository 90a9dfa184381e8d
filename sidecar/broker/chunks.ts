import { createHash } from 'node:crypto';
import type { BodyRef } from '../model/call.ts';
import { BodyLost } from './port.ts';

/** Size of the chunks of a body, bytes. The last one may be smaller. */
export const CHUNK_SIZE = 256 * 1024;
/** Chunks of one body that are under way at a time, in either direction, at most. */
const CHUNKS_AHEAD = 4;
/** Chunks of all bodies together that are under way; each body may have one in any case. */
const CHUNKS_TOGETHER = 32;
/** What storing or reading one body takes of memory, bytes: the chunks under way, and the one that is being filled or sent. */
export const BODY_WINDOW = (CHUNKS_AHEAD + 1) * CHUNK_SIZE;

/** The bodies that a process is storing or reading: the more there are, the fewer chunks each has under way. */
export class BodyTraffic {
  #bodies = 0;

  /** How many chunks each body may have under way now. */
  get ahead(): number {
    return Math.max(1, Math.min(CHUNKS_AHEAD, Math.floor(CHUNKS_TOGETHER / this.#bodies)));
  }

  begin(): void {
    this.#bodies++;
  }

  end(): void {
    this.#bodies--;
  }
}

/** What is known of a body when all of its chunks are stored. */
export type Manifest = Omit<BodyRef, 'id'>;

export interface ChunkSink {
  /** Room for a chunk, which decides its size. Each is asked for once and filled by whoever asks. */
  room(): Buffer;
  /** Stores chunk `n`, counted from 0. The bytes are its own until it settles. */
  put(n: number, bytes: Uint8Array): Promise<void>;
  readonly signal: AbortSignal;
  readonly traffic: BodyTraffic;
  /** The body will not be completed. `settled` resolves when no `put` is under way any more; it never rejects. */
  abandoned(settled: Promise<unknown>): void;
}

/**
 * Cuts a body into chunks and stores them while it arrives. Each part of `source` is copied before the next is asked for.
 * @throws what `put` or `source` throws first, or the reason of the signal
 */
export async function storeChunks(source: AsyncIterable<Uint8Array>, sink: ChunkSink): Promise<Manifest> {
  const window = new Window(sink);
  const abort = () => window.fail(sink.signal.reason as Error);
  sink.signal.addEventListener('abort', abort);
  if (sink.signal.aborted) abort();
  const hash = createHash('sha256');
  const iterator = source[Symbol.asyncIterator]();
  let size = 0;
  sink.traffic.begin();
  try {
    for (;;) {
      const next = await window.unlessFailed(iterator.next());
      if (next.done === true) break;
      const part = next.value;
      hash.update(part);
      size += part.length;
      for (let at = 0; at < part.length;) {
        at += window.fill(part, at);
        if (window.isFull) await window.send();
      }
    }
    await window.finish();
    return { chunks: window.sent, size, sha256: hash.digest('hex') };
  } catch (error) {
    sink.abandoned(window.settled());
    // It is not read any further; how that ends for it does not matter to anybody any more.
    iterator.return?.().catch(() => undefined);
    throw error;
  } finally {
    sink.traffic.end();
    sink.signal.removeEventListener('abort', abort);
  }
}

/** The chunks of one body that are on their way to the broker. */
class Window {
  readonly #sink: ChunkSink;
  readonly #underWay = new Set<Promise<void>>();
  #chunk: Buffer;
  #filled = 0;
  #failure: { readonly error: Error } | undefined;
  #interrupt: ((error: Error) => void) | undefined;
  sent = 0;

  constructor(sink: ChunkSink) {
    this.#sink = sink;
    this.#chunk = sink.room();
  }

  get isFull(): boolean {
    return this.#filled === this.#chunk.length;
  }

  /** Takes bytes of `part` from `at` on; how many. */
  fill(part: Uint8Array, at: number): number {
    const count = Math.min(part.length - at, this.#chunk.length - this.#filled);
    this.#chunk.set(at === 0 && count === part.length ? part : part.subarray(at, at + count), this.#filled);
    this.#filled += count;
    return count;
  }

  /** Sends what is filled; resolves when there is room for more. */
  async send(): Promise<void> {
    const bytes = this.isFull ? this.#chunk : this.#chunk.subarray(0, this.#filled);
    this.#filled = 0;
    const put = this.#sink.put(this.sent++, bytes).then(
      () => void this.#underWay.delete(put),
      (error: unknown) => {
        this.#underWay.delete(put);
        this.fail(error as Error);
      },
    );
    this.#underWay.add(put);
    this.#chunk = this.#sink.room();
    while (this.#underWay.size >= this.#sink.traffic.ahead) await this.unlessFailed(Promise.race(this.#underWay));
  }

  async finish(): Promise<void> {
    if (this.#filled > 0) await this.send();
    await this.unlessFailed(this.settled());
  }

  settled(): Promise<unknown> {
    return Promise.all(this.#underWay);
  }

  /** The first failure ends whatever is being waited for. */
  fail(error: Error): void {
    this.#failure ??= { error };
    this.#interrupt?.(this.#failure.error);
  }

  /** `work`, or the failure that comes before it. Not by `Promise.race`: what loses a race often would be remembered by it. */
  unlessFailed<T>(work: Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure !== undefined) reject(this.#failure.error);
      this.#interrupt = reject;
      work.then((value) => (this.#failure === undefined ? resolve(value) : reject(this.#failure.error)), reject);
    });
  }
}

/**
 * Reads a body chunk by chunk, some ahead of its reader.
 * @param get gives chunk `n`, counted from 0; throws {@link BodyLost} where it is gone
 */
export async function* readChunks(
  ref: BodyRef,
  get: (n: number) => Promise<Uint8Array>,
  traffic: BodyTraffic,
): AsyncGenerator<Uint8Array, void, undefined> {
  traffic.begin();
  try {
    yield* chunksOf(ref, get, traffic);
  } finally {
    traffic.end();
  }
}

async function* chunksOf(
  ref: BodyRef,
  get: (n: number) => Promise<Uint8Array>,
  traffic: BodyTraffic,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256');
  const coming: Promise<Uint8Array>[] = [];
  let size = 0;
  let asked = 0;
  for (let n = 0; n < ref.chunks; n++) {
    while (asked < ref.chunks && coming.length < traffic.ahead) {
      const chunk = get(asked++);
      // A reader that stops early never comes to this one; one that goes on hears of its failure below.
      chunk.catch(() => undefined);
      coming.push(chunk);
    }
    const bytes = await coming.shift()!;
    hash.update(bytes);
    size += bytes.length;
    const isLast = n === ref.chunks - 1;
    if (size > ref.size || (isLast && size < ref.size)) {
      throw new BodyLost(`the stored body ${ref.id} is not of the ${ref.size} bytes that were stored`);
    }
    if (isLast && hash.digest('hex') !== ref.sha256) {
      throw new BodyLost(`the stored body ${ref.id} is not what was stored: its digest is another`);
    }
    yield bytes;
  }
}

/** Bodies that were given up and are being removed. */
export class Removals {
  readonly #report: (error: Error) => void;
  readonly #underWay = new Set<Promise<void>>();

  constructor(report: (error: Error) => void) {
    this.#report = report;
  }

  add(removal: Promise<unknown>): void {
    const owned: Promise<void> = removal
      .then(() => undefined, this.#report)
      .finally(() => this.#underWay.delete(owned));
    this.#underWay.add(owned);
  }

  /** Resolves when nothing is being removed any more, or after `limitMs`. */
  async done(limitMs: number): Promise<void> {
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, limitMs);
    await Promise.race([Promise.all(this.#underWay), late.promise]);
    clearTimeout(timer);
  }
}
