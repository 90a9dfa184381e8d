import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type AddressInfo, connect } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { discard, pour, primed } from '../../../sidecar/http/body.ts';

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

describe('discard', () => {
  test('gives memory back that is the bytes’ own', () => {
    const bytes = Buffer.allocUnsafeSlow(1000);
    discard(bytes);
    expect(bytes.buffer.byteLength).toBe(0);
    expect(bytes.byteLength).toBe(0);
    discard(bytes);
  });

  test('leaves alone what others look at, too', () => {
    const all = Buffer.allocUnsafeSlow(1000).fill(1);
    discard(all.subarray(0, 10));
    discard(Buffer.from('short, so that it lies in the pool'));
    expect(all.at(-1)).toBe(1);
    const shared = Buffer.from(new SharedArrayBuffer(10)).fill(1);
    discard(shared);
    expect(shared.at(-1)).toBe(1);
  });
});

describe('pour', () => {
  test('asks for the next part only when the one before may be discarded, however slowly it is read', async () => {
    const sent = createHash('sha256');
    const parts = Array.from({ length: 40 }, () => Buffer.from(new Uint8Array(randomBytes(256 * 1024))));
    async function* owned(): AsyncGenerator<Uint8Array, void, undefined> {
      for (const part of parts) {
        sent.update(part);
        yield part;
        discard(part);
      }
    }
    const server = createServer((socket) => {
      pour(owned(), socket).then(
        () => socket.end(),
        () => socket.destroy(),
      );
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const reader = connect((server.address() as AddressInfo).port, '127.0.0.1');
    // Nobody reads until the system takes no more.
    await once(reader, 'connect');
    await new Promise((resolve) => setImmediate(resolve));
    const got = await buffer(reader);
    server.close();
    expect(sha256(got)).toBe(sent.digest('hex'));
    expect(parts.every(({ byteLength }) => byteLength === 0)).toBe(true);
  });

  test('ends with the other side', async () => {
    async function* endless(): AsyncGenerator<Uint8Array, void, undefined> {
      for (;;) yield Buffer.allocUnsafeSlow(256 * 1024);
    }
    const poured = Promise.withResolvers<boolean>();
    const server = createServer((socket) => {
      socket.on('error', () => {});
      pour(endless(), socket).then(poured.resolve, poured.reject);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const reader = connect((server.address() as AddressInfo).port, '127.0.0.1');
    await once(reader, 'readable');
    reader.resetAndDestroy();
    expect(await poured.promise).toBe(false);
    server.close();
  });
});

describe('primed', () => {
  async function* parts(end: () => void): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield Buffer.from('a');
      yield Buffer.from('b');
    } finally {
      end();
    }
  }

  test('has all parts, the first at hand', async () => {
    const read = [];
    for await (const part of await primed(parts(() => {}))) read.push(String(part));
    expect(read).toEqual(['a', 'b']);
    expect(await (await primed(parts(() => {}))).next()).toMatchObject({ done: false });
  });

  test('tells the source when it is not read, or not to its end', async () => {
    let ended = 0;
    await (await primed(parts(() => ended++))).return();
    for await (const _ of await primed(parts(() => ended++))) break;
    expect(ended).toBe(2);
  });

  test('throws what keeps the first one from coming', async () => {
    async function* lost(): AsyncGenerator<Uint8Array, void, undefined> {
      yield* [];
      throw new Error('lost');
    }
    await expect(primed(lost())).rejects.toThrow('lost');
  });
});
