import { createHash } from 'node:crypto';
import type { BodyPlace } from '../../sidecar/broker/port.ts';

/** As sockets give it, bytes. */
const part = 64 * 1024;

/** A body that is nowhere the same, in parts as they come from a socket. */
export async function* aBody(size: number, seed = 1): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < size; at += part) yield bytesAt(at, Math.min(part, size - at), seed);
}

function bytesAt(at: number, length: number, seed: number): Buffer {
  return Buffer.alloc(length, `${seed}:${at};`);
}

/** Size and digest of a body, as a reference to it tells them. */
export async function digestOf(body: AsyncIterable<Uint8Array>): Promise<{ size: number; sha256: string }> {
  const hash = createHash('sha256');
  let size = 0;
  for await (const bytes of body) {
    hash.update(bytes);
    size += bytes.length;
  }
  return { size, sha256: hash.digest('hex') };
}

/** What a body of a call from `orders` to `payments` belongs to. */
export function placeOf(id: string, kind: BodyPlace['kind'] = 'request', keyed = false): BodyPlace {
  return { kind, call: { id, caller: 'orders', service: 'payments', keyed } };
}
