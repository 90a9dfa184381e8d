import { BodyLost, type BodyPlace, type BodyStore, type BrokerUnavailable } from '../../sidecar/broker/port.ts';
import type { BodyRef } from '../../sidecar/model/call.ts';

/** A body store in memory, whose every failure a test decides. */
export class MemoryBodies implements BodyStore {
  readonly stored = new Map<string, Buffer[]>();
  readonly places: BodyPlace[] = [];
  readonly forgotten: string[] = [];
  /** Bodies whose writing did not come to its end. */
  abandoned = 0;
  /** Runs before each part is taken in. */
  onPart: (part: Uint8Array) => void | Promise<void> = () => {};
  onRead: (ref: BodyRef, part: number) => void | Promise<void> = () => {};

  async write(place: BodyPlace, source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<BodyRef> {
    this.places.push(place);
    const parts: Buffer[] = [];
    const aborted = Promise.withResolvers<never>();
    aborted.promise.catch(() => undefined);
    signal.addEventListener('abort', () => aborted.reject(signal.reason));
    try {
      const iterator = source[Symbol.asyncIterator]();
      for (;;) {
        const next = await Promise.race([iterator.next(), aborted.promise]);
        if (next.done === true) break;
        await Promise.race([this.onPart(next.value), aborted.promise]);
        parts.push(Buffer.from(next.value));
      }
    } catch (error) {
      this.abandoned++;
      throw error;
    }
    const id = `body-${this.stored.size}`;
    this.stored.set(id, parts);
    const size = parts.reduce((sum, part) => sum + part.length, 0);
    return { id, chunks: parts.length, size, sha256: 'f'.repeat(64) };
  }

  async *read(ref: BodyRef): AsyncGenerator<Uint8Array, void, undefined> {
    const parts = this.stored.get(ref.id);
    if (parts === undefined) throw new BodyLost(`${ref.id} is not stored`);
    for (const [n, part] of parts.entries()) {
      await this.onRead(ref, n);
      yield part;
    }
  }

  async forget(ref: BodyRef): Promise<void> {
    this.forgotten.push(ref.id);
    this.stored.delete(ref.id);
  }

  /** Puts a body there as if it had been written. */
  put(...texts: string[]): BodyRef {
    const id = `body-${this.stored.size}`;
    const parts = texts.map((text) => Buffer.from(text));
    this.stored.set(id, parts);
    return { id, chunks: parts.length, size: Buffer.concat(parts).length, sha256: 'f'.repeat(64) };
  }

  /** From now on no part is taken in. */
  refuse(error: BrokerUnavailable): void {
    this.onPart = () => {
      throw error;
    };
  }
}
