/** A request or an answer, byte for byte: one character a byte. */
export interface Message {
  /** Request line or status line. */
  readonly line: string;
  /** Lines of the header section, as they are. */
  readonly fields: readonly string[];
  /** The content, chunks put together. */
  readonly body: string;
  readonly trailers: readonly string[];
  readonly framing: 'none' | 'length' | 'chunks' | 'close';
  readonly bytes: string;
}

/** Reads the first message of these bytes as RFC 9112 §6.3 says for requests; undefined while it is not complete. */
export function readMessage(bytes: string): Message | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [line = '', ...fields] = bytes.slice(0, headEnd).split('\r\n');
  const start = headEnd + 4;
  const valueOf = (name: string) => fields.find((field) => nameOf(field) === name)?.replace(/^[^:]*:\s*/, '');
  if (valueOf('transfer-encoding') !== undefined) {
    const content = readChunks(bytes, start);
    return (
      content && {
        line,
        fields,
        ...content,
        framing: 'chunks',
        bytes: bytes.slice(0, content.end),
      }
    );
  }
  const length = valueOf('content-length');
  const end = start + Number(length ?? 0);
  if (bytes.length < end) return undefined;
  return {
    line,
    fields,
    body: bytes.slice(start, end),
    trailers: [],
    framing: length === undefined ? 'none' : 'length',
    bytes: bytes.slice(0, end),
  };
}

function readChunks(bytes: string, start: number): { body: string; trailers: string[]; end: number } | undefined {
  let body = '';
  for (let at = start; ;) {
    const sizeEnd = bytes.indexOf('\r\n', at);
    if (sizeEnd < 0) return undefined;
    const size = Number.parseInt(bytes.slice(at, sizeEnd), 16);
    if (size === 0) {
      const isBare = bytes.startsWith('\r\n', sizeEnd + 2);
      const end = isBare ? sizeEnd + 2 : bytes.indexOf('\r\n\r\n', sizeEnd);
      if (end < 0 || bytes.length < end + (isBare ? 2 : 4)) return undefined;
      const trailers = isBare ? [] : bytes.slice(sizeEnd + 2, end).split('\r\n');
      return { body, trailers, end: end + (isBare ? 2 : 4) };
    }
    if (bytes.length < sizeEnd + 2 + size + 2) return undefined;
    body += bytes.slice(sizeEnd + 2, sizeEnd + 2 + size);
    at = sizeEnd + 2 + size + 2;
  }
}

/** The name of a header line, in lower case. */
export function nameOf(field: string): string {
  return field.slice(0, field.indexOf(':')).toLowerCase();
}
