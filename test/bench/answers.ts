/** One HTTP/1.1 answer, as far as a load generator needs it. */
export interface Answer {
  readonly status: number;
  /** Whether the server closes the connection after it. */
  readonly closes: boolean;
  /** Status line and header fields, as text. */
  readonly head: string;
}

const blank = Buffer.from('\r\n\r\n');
const lastChunk = Buffer.from('\r\n0\r\n\r\n');
const nothing = Buffer.alloc(0);

/**
 * Finds the ends of answers in the bytes of one connection on which one request is outstanding at a time.
 *
 * Deliberately less than an HTTP parser: an answer is framed by Content-Length, or is chunked without trailers. What the
 * generator does not do costs the subject no CPU on a machine that both share.
 */
export class AnswerReader {
  #pending: Buffer[] = [];
  #bytes = 0;
  /** The last bytes of a chunked answer, as many as its end has. */
  #tail: Buffer = nothing;
  #needed = 0;
  #answer: Answer | undefined;
  #chunked = false;

  /**
   * Takes the next bytes; returns the answer once it is complete.
   * @throws Error when bytes come that belong to no answer that was asked for, or the framing is unknown
   */
  read(bytes: Buffer): Answer | undefined {
    this.#bytes += bytes.length;
    if (this.#answer === undefined) this.#readHead(bytes);
    else this.#keepTail(bytes);
    if (this.#answer === undefined) return undefined;
    if (this.#chunked) {
      if (!this.#tail.equals(lastChunk)) return undefined;
    } else if (this.#bytes < this.#needed) return undefined;
    else if (this.#bytes > this.#needed) throw new Error(`${this.#bytes - this.#needed} bytes after an answer`);
    const answer = this.#answer;
    this.#bytes = 0;
    this.#answer = undefined;
    return answer;
  }

  #readHead(bytes: Buffer): void {
    this.#pending.push(bytes);
    const all = this.#joined();
    const end = all.indexOf(blank);
    if (end < 0) return;
    const head = all.toString('latin1', 0, end);
    const length = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
    this.#chunked = length === undefined && /\r\ntransfer-encoding: *chunked/i.test(head);
    if (length === undefined && !this.#chunked) throw new Error(`an answer without framing: ${head}`);
    this.#needed = end + blank.length + Number(length ?? 0);
    this.#answer = { status: Number(head.slice(9, 12)), closes: /\r\nconnection: *close/i.test(head), head };
    this.#pending = [];
    this.#tail = nothing;
    this.#keepTail(all);
  }

  /** The last chunk may be cut anywhere; what came before it is not kept, since a body may have megabytes. */
  #keepTail(bytes: Buffer): void {
    if (!this.#chunked) return;
    const last = bytes.subarray(-lastChunk.length);
    this.#tail = Buffer.concat([this.#tail, last]).subarray(-lastChunk.length);
  }

  #joined(): Buffer {
    const [first] = this.#pending;
    if (first && this.#pending.length === 1) return first;
    const all = Buffer.concat(this.#pending);
    this.#pending = [all];
    return all;
  }
}
