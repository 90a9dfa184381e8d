import type { IncomingMessage } from 'node:http';
import type { Writable } from 'node:stream';

/** How reading a body ended. After `over-limit` and `refused` the rest of it is still to come. */
export type BodyRead =
  | { readonly kind: 'whole'; readonly body: Buffer }
  /** There is more than the limit. `parts`: what was read, more than the limit by part of a packet; the message is paused. */
  | { readonly kind: 'over-limit'; readonly parts: readonly Buffer[] }
  /** `admit` said no. */
  | { readonly kind: 'refused' }
  /** The sender went away, or sent what is no HTTP, before the end. */
  | { readonly kind: 'gone' };

const empty = Buffer.alloc(0);

/** Reads a message's body into memory, at most `limit` bytes; `admit` is asked for each part before it is kept. */
export function readBody(
  message: IncomingMessage,
  limit: number,
  admit: (bytes: number) => boolean,
): Promise<BodyRead> {
  return new Promise((resolve) => {
    const parts: Buffer[] = [];
    let length = 0;
    const end = (read: BodyRead) => {
      message.off('data', onData).off('end', onEnd).off('close', onGone);
      resolve(read);
    };
    const onData = (part: Buffer) => {
      length += part.length;
      if (length > limit) {
        // What flows on without a listener would be lost.
        message.pause();
        parts.push(part);
        end({ kind: 'over-limit', parts });
      } else if (admit(part.length)) parts.push(part);
      else end({ kind: 'refused' });
    };
    const onEnd = () => {
      const [first = empty] = parts;
      end({ kind: 'whole', body: parts.length > 1 ? Buffer.concat(parts, length) : first });
    };
    const onGone = () => end({ kind: 'gone' });
    message.on('data', onData).on('end', onEnd).on('close', onGone).on('error', onGone);
  });
}

/**
 * Gives back the memory of bytes that nobody looks at any more; where they share it with others, nothing happens. Left to the
 * garbage collector it would pile up to many times of what a large body needs at a time.
 */
export function discard(bytes: Uint8Array): void {
  const { buffer, byteLength } = bytes;
  if (byteLength > 0 && buffer instanceof ArrayBuffer && buffer.byteLength === byteLength) buffer.transfer(0);
}

/** The body goes on beyond what may be read of it. */
export class BodyTooLarge extends Error {
  override readonly name = 'BodyTooLarge';
  constructor(limit: number) {
    super(`the body is over ${limit} bytes`);
  }
}

/**
 * The parts of a message's body as they arrive, those that were read before first. Nothing is read ahead of the one who
 * iterates, so that a sender can be made to wait. A part is there until the next one is asked for.
 * @throws {BodyTooLarge} as soon as there are more than `limit` bytes
 * @throws Error when the sender goes away before the end
 */
export async function* arrivingBody(
  message: IncomingMessage,
  before: readonly Buffer[],
  limit: number,
): AsyncGenerator<Buffer, void, undefined> {
  let length = 0;
  const counted = (part: Buffer): Buffer => {
    length += part.length;
    if (length > limit) throw new BodyTooLarge(limit);
    return part;
  };
  for (const part of before) {
    yield counted(part);
    discard(part);
  }
  // Who stops reading may still want to answer.
  for await (const part of message.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    yield counted(part);
    discard(part);
  }
  if (!message.complete) throw new Error('the connection was closed in the middle of the body');
}

/**
 * The same parts, the first of which is at hand; what keeps it from coming is thrown here. Who does not read them to their end
 * calls `return`.
 */
export async function primed(
  parts: AsyncGenerator<Uint8Array, void, undefined>,
): Promise<AsyncGenerator<Uint8Array, void, undefined>> {
  let first: IteratorResult<Uint8Array, void> | undefined = await parts.next();
  const all: AsyncGenerator<Uint8Array, void, undefined> = {
    next() {
      const atHand = first;
      first = undefined;
      return atHand === undefined ? parts.next() : Promise.resolve(atHand);
    },
    // A generator would do, were it not that one which was never begun hands no `return` on.
    return: () => parts.return(),
    throw: (error) => parts.throw(error),
    [Symbol.asyncIterator]: () => all,
    [Symbol.asyncDispose]: () => parts[Symbol.asyncDispose](),
  };
  return all;
}

/**
 * Writes parts as fast as they are taken; leaves the end to its caller. The next part is asked for when the system has taken the
 * one before. Resolves with false when the other side has closed before everything was written.
 * @throws what iterating throws
 */
export async function pour(parts: AsyncGenerator<Uint8Array, void, undefined>, to: Writable): Promise<boolean> {
  for await (const part of parts) {
    if (to.destroyed || to.errored !== null) return false;
    await new Promise<void>((resolve) => {
      const done = () => {
        to.off('close', done);
        resolve();
      };
      to.once('close', done).write(part, done);
    });
  }
  return !to.destroyed;
}
