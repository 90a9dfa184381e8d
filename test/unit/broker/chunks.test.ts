import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import {
  BODY_WINDOW,
  BodyTraffic,
  CHUNK_SIZE,
  readChunks,
  storeChunks,
  type ChunkSink,
} from '../../../sidecar/broker/chunks.ts';
import { BodyLost } from '../../../sidecar/broker/port.ts';
import { createLatch } from '../../support/latch.ts';
import { eventually } from '../../support/eventually.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** A place for chunks in memory; `onPut` may make a chunk wait or fail. */
class Chunks implements ChunkSink {
  readonly stored = new Map<number, Buffer>();
  readonly signal: AbortSignal;
  traffic = new BodyTraffic();
  underWay = 0;
  most = 0;
  abandonedAfter: number | undefined;
  onPut: (n: number) => Promise<void> | void = () => {};
  readonly #size: number;

  constructor(size = 10, signal = new AbortController().signal) {
    this.#size = size;
    this.signal = signal;
  }

  room(): Buffer {
    return Buffer.alloc(this.#size);
  }

  async put(n: number, bytes: Uint8Array): Promise<void> {
    this.most = Math.max(this.most, ++this.underWay);
    try {
      await this.onPut(n);
      this.stored.set(n, Buffer.from(bytes));
    } finally {
      this.underWay--;
    }
  }

  abandoned(settled: Promise<unknown>): void {
    settled.then(() => (this.abandonedAfter = this.underWay)).catch(() => (this.abandonedAfter = -1));
  }
}

async function* parts(body: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < body.length; at += size) yield body.subarray(at, at + size);
}

async function whole(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const read: Uint8Array[] = [];
  for await (const part of source) read.push(part);
  return Buffer.concat(read);
}

const text = Buffer.from('the quick brown fox jumps over the lazy dog and then some');

describe('a body that is cut into chunks', () => {
  test.for([
    [1, 3],
    [9, 3],
    [10, 10],
    [11, 4],
    [20, 7],
    [57, 57],
    [57, 1],
  ])('of %i bytes in parts of %i is the same when it is read', async ([length, part]) => {
    const body = text.subarray(0, length);
    const chunks = new Chunks();
    const manifest = await storeChunks(parts(body, part!), chunks);
    expect(manifest).toEqual({ chunks: Math.ceil(length! / 10), size: length, sha256: sha256(body) });
    expect([...chunks.stored.values()].every((chunk, n) => chunk.length === Math.min(10, length! - 10 * n))).toBe(true);
    const read = readChunks({ id: 'x', ...manifest }, async (n) => chunks.stored.get(n)!, chunks.traffic);
    expect(await whole(read)).toEqual(body);
  });

  test('takes no more in than the window while nothing is stored', async () => {
    const chunks = new Chunks(CHUNK_SIZE);
    const hold = createLatch();
    chunks.onPut = () => hold.wait();
    let taken = 0;
    async function* endless(): AsyncGenerator<Buffer> {
      for (; taken < 4 * BODY_WINDOW; taken += 64 * 1024) yield Buffer.alloc(64 * 1024);
    }
    const storing = storeChunks(endless(), chunks);
    await eventually(() => expect(chunks.underWay).toBe(4), { what: 'a full window' });
    await new Promise((resolve) => setImmediate(resolve));
    expect(taken).toBeLessThanOrEqual(BODY_WINDOW);
    hold.open();
    expect((await storing).size).toBe(4 * BODY_WINDOW);
    expect(chunks.most).toBe(4);
  });

  test('fails with the first chunk that fails, at once, also while its sender is silent', async () => {
    const chunks = new Chunks();
    const hold = createLatch();
    chunks.onPut = async (n) => {
      if (n === 0) await hold.wait();
      else throw new Error('no room');
    };
    async function* silent(): AsyncGenerator<Buffer> {
      yield text.subarray(0, 20);
      await new Promise(() => {});
    }
    await expect(storeChunks(silent(), chunks)).rejects.toThrow('no room');
    // What is under way may still be stored, so nothing can be removed before that is known.
    expect(chunks.abandonedAfter).toBeUndefined();
    hold.open();
    await eventually(() => expect(chunks.abandonedAfter).toBe(0), { what: 'the body to be abandoned' });
  });

  test('fails with its sender', async () => {
    const chunks = new Chunks();
    async function* broken(): AsyncGenerator<Buffer> {
      yield text.subarray(0, 15);
      throw new Error('reset');
    }
    await expect(storeChunks(broken(), chunks)).rejects.toThrow('reset');
    await eventually(() => expect(chunks.abandonedAfter).toBe(0), { what: 'the body to be abandoned' });
  });

  test('ends with its signal, at once', async () => {
    const stop = new AbortController();
    const chunks = new Chunks(10, stop.signal);
    chunks.onPut = () => new Promise(() => {});
    const storing = storeChunks(parts(text, 10), chunks);
    stop.abort(new Error('the caller went away'));
    await expect(storing).rejects.toThrow('the caller went away');
  });
});

describe('reading', () => {
  const body = text.subarray(0, 35);
  const ref = { id: 'x', chunks: 4, size: 35, sha256: sha256(body) };
  const at = (n: number) => body.subarray(n * 10, n * 10 + 10);

  test.for<[string, (n: number) => Uint8Array]>([
    ['another byte', (n) => (n === 2 ? Buffer.from('corrupted!') : at(n))],
    ['a chunk twice', (n) => at(n === 2 ? 1 : n)],
    ['a chunk that is longer', (n) => (n === 3 ? body.subarray(29) : at(n))],
    ['a chunk that is shorter', (n) => (n === 3 ? body.subarray(31) : at(n))],
  ])('%s: the last part never comes', async ([, get]) => {
    const read: Uint8Array[] = [];
    const reading = (async () => {
      for await (const part of readChunks(ref, async (n) => get(n), new BodyTraffic())) read.push(part);
    })();
    await expect(reading).rejects.toThrow(BodyLost);
    expect(read).toHaveLength(3);
  });

  test('a chunk that is gone ends it there, and asks for no more', async () => {
    const asked: number[] = [];
    const get = async (n: number) => {
      asked.push(n);
      if (n === 1) throw new BodyLost('gone');
      return at(n);
    };
    const read = readChunks({ ...ref, chunks: 400 }, get, new BodyTraffic());
    expect((await read.next()).value).toEqual(at(0));
    await expect(read.next()).rejects.toThrow('gone');
    expect(asked).toHaveLength(5);
  });

  test('no more is read ahead than the window', async () => {
    let asked = 0;
    const get = async (n: number) => {
      asked++;
      return at(n);
    };
    const read = readChunks({ ...ref, chunks: 4000 }, get, new BodyTraffic());
    await read.next();
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toBe(4);
    await read.return();
  });
});

describe('many bodies at once', () => {
  const body = Buffer.alloc(4000, 'x');
  const many = 40;

  test('have fewer chunks under way each, so that together they have no more than some do', async () => {
    const traffic = new BodyTraffic();
    const hold = createLatch();
    const all = Array.from({ length: many }, () => Object.assign(new Chunks(), { traffic, onPut: () => hold.wait() }));
    const storing = all.map((chunks) => storeChunks(parts(body, 100), chunks));
    const underWay = () => all.reduce((sum, chunks) => sum + chunks.underWay, 0);
    await eventually(() => expect(underWay()).toBeGreaterThanOrEqual(many), { what: 'each to store something' });
    await new Promise((resolve) => setImmediate(resolve));
    // The first ones began before it was known how many there would be.
    expect(underWay()).toBeLessThan(many + 32);
    hold.open();
    await Promise.all(storing);
    expect(traffic.ahead).toBe(4);
  });

  test.for<[string, (read: AsyncGenerator<Uint8Array, void, undefined>) => Promise<unknown>]>([
    ['to its end', whole],
    ['in part', (read) => read.next().then(() => read.return())],
  ])('one that is read %s makes room for others', async ([, use]) => {
    const traffic = new BodyTraffic();
    const ref = { id: 'x', chunks: 4, size: 4000, sha256: sha256(body) };
    const open = Array.from({ length: many }, () =>
      readChunks(ref, async (n) => body.subarray(1000 * n, 1000 * n + 1000), traffic),
    );
    await Promise.all(open.map((read) => read.next()));
    expect(traffic.ahead).toBe(1);
    await Promise.all(open.map(use));
    expect(traffic.ahead).toBe(4);
  });

  test('one that is not stored to its end makes room, and its sender is told', async () => {
    const chunks = new Chunks();
    chunks.onPut = () => Promise.reject(new Error('no room'));
    const stopped = createLatch();
    async function* told(): AsyncGenerator<Buffer> {
      try {
        for (;;) yield text.subarray(0, 10);
      } finally {
        stopped.open();
      }
    }
    for (let n = 0; n < many; n++) await expect(storeChunks(told(), chunks)).rejects.toThrow('no room');
    await stopped.wait('the sender to be told');
    expect(chunks.traffic.ahead).toBe(4);
  });
});
