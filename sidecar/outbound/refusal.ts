import type { Duplex } from 'node:stream';
import type { Reply } from '../http/answer.ts';

/** How long a caller may take to read a refusal and to stop sending, ms. */
const lingerLimit = 1000;

/**
 * Answers on a connection that no HTTP response belongs to, and ends it. What the caller still sends is read and
 * dropped for a moment: closing at once would make the system answer it with a reset, which can destroy the refusal
 * before it is read (RFC 9112 §9.6).
 */
export function refuse(socket: Duplex, reply: Reply): void {
  // A caller that is gone needs no answer.
  socket.on('error', () => socket.destroy());
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const timer = setTimeout(() => socket.destroy(), lingerLimit);
  socket.once('close', () => clearTimeout(timer));
  socket.end(replyBytes(reply));
  socket.resume();
}

/** A reply as bytes, for a socket that no HTTP response belongs to; the connection ends with it. */
export function replyBytes({ status, reason, headers, body }: Reply): Buffer {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`;
  for (let at = 0; at < headers.length; at += 2) head += `${headers[at]}: ${headers[at + 1]}\r\n`;
  return Buffer.concat([Buffer.from(`${head}Connection: close\r\n\r\n`, 'latin1'), body]);
}
