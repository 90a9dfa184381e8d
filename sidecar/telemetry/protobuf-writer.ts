/** Writes protobuf (the wire format, proto3) into one buffer that grows. A tag is a field's number and wire type in one. */
export class ProtobufWriter {
  #bytes: Buffer;
  #at = 0;

  /** @param size bytes that it will take, more or less */
  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafeSlow(size);
  }

  /** What has been written. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#at);
  }

  /**
   * Begins a message within this one.
   * @param digits how many bytes its length will probably take
   * @returns what {@link close} wants to know
   */
  open(tag: number, digits: number): number {
    this.#reserve(2 + digits);
    this.#bytes[this.#at] = tag;
    this.#at += 1 + digits;
    return this.#at;
  }

  /** Ends it. @param digits as for {@link open} */
  close(start: number, digits: number): void {
    const length = this.#at - start;
    const needed = length < 0x80 ? 1 : length < 0x4000 ? 2 : length < 0x20_0000 ? 3 : length < 0x1000_0000 ? 4 : 5;
    if (needed !== digits) {
      this.#reserve(needed);
      this.#bytes.copyWithin(start - digits + needed, start, this.#at);
    }
    this.#at = start - digits;
    this.#varint(length);
    this.#at += length;
  }

  /** An integer below 2^53, not negative. */
  number(tag: number, value: number): void {
    this.#reserve(11);
    this.#bytes[this.#at++] = tag;
    this.#varint(value);
  }

  /** An integer of 64 bits, as two's complement. */
  int64(tag: number, value: bigint): void {
    this.#reserve(11);
    this.#bytes[this.#at++] = tag;
    let rest = BigInt.asUintN(64, value);
    for (; rest > 0x7fn; rest >>= 7n) this.#bytes[this.#at++] = Number(rest & 0x7fn) | 0x80;
    this.#bytes[this.#at++] = Number(rest);
  }

  double(tag: number, value: number): void {
    this.#reserve(9);
    this.#bytes[this.#at++] = tag;
    this.#at = this.#bytes.writeDoubleLE(value, this.#at);
  }

  /** An integer of 32 bits in four bytes, under a tag below 2^14. */
  fixed32(tag: number, value: number): void {
    this.#reserve(6);
    this.#varint(tag);
    this.#at = this.#bytes.writeUInt32LE(value, this.#at);
  }

  /** A time in ms since the epoch as nanoseconds in eight bytes, the fraction rounded as OpenTelemetry does it. */
  time(tag: number, ms: number): void {
    this.#reserve(9);
    const seconds = Math.trunc(ms / 1000);
    const nanoseconds = Math.round((ms % 1000) * 1e6);
    // 61 bits are too many for a number: in parts of 16 bits of the seconds each step is exact.
    const upper = Math.trunc(seconds / 0x1_0000) * 1e9;
    const lower = (upper % 0x1_0000) * 0x1_0000 + (seconds % 0x1_0000) * 1e9 + nanoseconds;
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = tag;
    at = fourBytes(bytes, at, lower % 0x1_0000_0000);
    this.#at = fourBytes(bytes, at, Math.trunc(upper / 0x1_0000) + Math.trunc(lower / 0x1_0000_0000));
  }

  /** Bytes that are given as lower-case hexadecimal digits, at most 254. */
  hex(tag: number, digits: string): void {
    const length = digits.length >>> 1;
    this.#reserve(2 + length);
    const bytes = this.#bytes;
    let at = this.#at;
    bytes[at++] = tag;
    bytes[at++] = length;
    for (let digit = 0; digit < digits.length; digit += 2) {
      bytes[at++] = (valueOf(digits.charCodeAt(digit)) << 4) | valueOf(digits.charCodeAt(digit + 1));
    }
    this.#at = at;
  }

  text(tag: number, text: string): void {
    const { length } = text;
    // In UTF-8 a unit of UTF-16 takes three bytes at most.
    this.#reserve(6 + 3 * length);
    const bytes = this.#bytes;
    bytes[this.#at] = tag;
    if (length < 0x80) {
      // Short and plain, as most are: quicker here than in a call to the runtime.
      const from = this.#at + 2;
      let read = 0;
      for (; read < length; read++) {
        const code = text.charCodeAt(read);
        if (code > 0x7f) break;
        bytes[from + read] = code;
      }
      if (read === length) {
        bytes[from - 1] = length;
        this.#at = from + length;
        return;
      }
    }
    this.#at++;
    this.#varint(Buffer.byteLength(text));
    this.#at += bytes.write(text, this.#at);
  }

  #varint(value: number): void {
    const bytes = this.#bytes;
    let at = this.#at;
    let rest = value;
    for (; rest > 0x7fff_ffff; rest = Math.trunc(rest / 0x80)) bytes[at++] = (rest % 0x80) | 0x80;
    for (; rest > 0x7f; rest >>>= 7) bytes[at++] = (rest & 0x7f) | 0x80;
    bytes[at++] = rest;
    this.#at = at;
  }

  #reserve(more: number): void {
    const needed = this.#at + more;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#at);
    this.#bytes = larger;
  }
}

function fourBytes(bytes: Buffer, at: number, value: number): number {
  bytes[at] = value & 0xff;
  bytes[at + 1] = (value >>> 8) & 0xff;
  bytes[at + 2] = (value >>> 16) & 0xff;
  bytes[at + 3] = value >>> 24;
  return at + 4;
}

/** Of one hexadecimal digit. */
function valueOf(code: number): number {
  return code > 0x39 ? code - 0x57 : code - 0x30;
}
