/** How a field of a message is read: a scalar, a message (by its own fields), or a list of one of them. */
type Scalar = 'string' | 'hex' | 'varint' | 'fixed64' | 'fixed32' | 'double' | 'bool';
export interface Field {
  readonly name: string;
  readonly as: Scalar | (() => MessageFields);
  readonly list?: true;
}
export type MessageFields = Readonly<Record<number, Field>>;
export type Message = Record<string, unknown>;

/**
 * Decodes protobuf (the wire format, proto3) by the fields that are given; fields that are not are skipped.
 * @throws RangeError for bytes that are no such message
 */
export function decodeMessage(bytes: Buffer, fields: MessageFields): Message {
  const message: Message = {};
  for (const field of Object.values(fields)) if (field.list) message[field.name] = [];
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes.readUInt8(at++);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = Number(varint());
    const field = fields[tag >>> 3];
    const wire = tag & 7;
    const start = at;
    if (wire === 0) varint();
    else if (wire === 1) at += 8;
    else if (wire === 2) {
      const length = Number(varint());
      at += length;
    } else if (wire === 5) at += 4;
    else throw new RangeError(`wire type ${wire} at byte ${start}`);
    if (at > bytes.length) throw new RangeError(`a field goes beyond the end of its message at byte ${start}`);
    if (field === undefined) continue;
    const { name, as, list } = field;
    const content = wire === 2 ? contentOf(bytes.subarray(start, at)) : bytes.subarray(start, at);
    const values = typeof as === 'function' ? [decodeMessage(content, as())] : scalars(content, as, wire);
    if (list) (message[name] as unknown[]).push(...values);
    else message[name] = values.at(-1);
  }
  return message;
}

/** Without the length that stands before it. */
function contentOf(bytes: Buffer): Buffer {
  let at = 0;
  while (bytes.readUInt8(at) >= 0x80) at++;
  return bytes.subarray(at + 1);
}

/** Numbers come packed, many in one field, or one by one. */
function scalars(bytes: Buffer, as: Scalar, wire: number): unknown[] {
  switch (as) {
    case 'string':
      return [bytes.toString('utf8')];
    case 'hex':
      return [bytes.toString('hex')];
    case 'varint':
    case 'bool': {
      const values: number[] = [];
      let value = 0;
      let factor = 1;
      for (const byte of bytes) {
        value += (byte & 0x7f) * factor;
        factor *= 128;
        if (byte >= 0x80) continue;
        values.push(value);
        [value, factor] = [0, 1];
      }
      return as === 'bool' ? values.map((each) => each !== 0) : values;
    }
    case 'fixed64':
      return chunks(bytes, 8).map((each) => each.readBigUInt64LE());
    case 'double':
      return chunks(bytes, 8).map((each) => each.readDoubleLE());
    case 'fixed32':
      return chunks(bytes, 4).map((each) => each.readUInt32LE());
    default:
      throw new TypeError(`${String(as satisfies never)} by wire type ${wire}`);
  }
}

function chunks(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: bytes.length / size }, (_, index) => bytes.subarray(index * size, (index + 1) * size));
}
