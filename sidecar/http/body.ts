import type { IncomingMessage } from 'node:http';

/** How reading a body ended. After `too-large` and `refused` the rest of it is still to come. */
export type BodyRead =
  | { readonly kind: 'whole'; readonly body: Buffer }
  | { readonly kind: 'too-large' }
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
      if (length > limit) end({ kind: 'too-large' });
      else if (admit(part.length)) parts.push(part);
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
