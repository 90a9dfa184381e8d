/** A request, read by the letter. */
export interface StrictRequest {
  readonly method: string;
  readonly target: string;
  readonly body: string;
}

const token = "[!#$%&'*+\\-.^_`|~0-9A-Za-z]+";
const requestLine = new RegExp(`^(${token}) ([\\x21-\\x7e]+) HTTP/1\\.([01])$`);
const field = new RegExp(
  `^(${token}):[ \\t]*([\\x21-\\x7e\\x80-\\xff](?:[\\t\\x20-\\x7e\\x80-\\xff]*[\\x21-\\x7e\\x80-\\xff])?)?[ \\t]*$`,
);
const chunkLine = new RegExp(
  `^([0-9A-Fa-f]{1,15})((?:;${token}(?:=(?:${token}|"[\\t\\x20-\\x21\\x23-\\x5b\\x5d-\\x7e]*"))?)*)$`,
);

/**
 * Reads the requests in these bytes as RFC 9112 defines them, without any of the leniencies that it allows, up to the
 * first one that is malformed, ambiguous or not complete. Written apart from every other parser here, to compare with.
 */
export function readStrictly(bytes: string): { requests: StrictRequest[]; isWhole: boolean } {
  const requests: StrictRequest[] = [];
  let rest = bytes;
  while (rest !== '') {
    // RFC 9112 §2.2: empty lines before a request line are ignored, and no reader takes one for a request.
    if (rest.startsWith('\r') || rest.startsWith('\n')) {
      rest = rest.slice(1);
      continue;
    }
    const read = readOne(rest);
    if (read === undefined) return { requests, isWhole: false };
    requests.push(read.request);
    rest = rest.slice(read.length);
  }
  return { requests, isWhole: true };
}

function readOne(bytes: string): { request: StrictRequest; length: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n');
  if (headEnd < 0) return undefined;
  const [line = '', ...lines] = bytes.slice(0, headEnd).split('\r\n');
  const start = requestLine.exec(line);
  const fields = lines.map((text) => field.exec(text));
  if (start === null || fields.includes(null)) return undefined;
  const [, method = '', target = '', minor] = start;
  const valuesOf = (name: string) =>
    fields.filter((one) => one![1]!.toLowerCase() === name).map((one) => one![2] ?? '');
  const lengths = valuesOf('content-length');
  const codings = valuesOf('transfer-encoding');
  const hosts = valuesOf('host').length;
  if (hosts > 1 || (hosts === 0 && minor === '1') || lengths.length + codings.length > 1) return undefined;
  const at = headEnd + 4;
  if (codings.length === 1) {
    if (codings[0]!.toLowerCase() !== 'chunked' || minor === '0') return undefined;
    const content = readChunks(bytes, at);
    return content && { request: { method, target, body: content.body }, length: content.end };
  }
  if (lengths.length === 1 && !/^\d{1,15}$/.test(lengths[0]!)) return undefined;
  const end = at + Number(lengths[0] ?? 0);
  if (bytes.length < end) return undefined;
  return { request: { method, target, body: bytes.slice(at, end) }, length: end };
}

function readChunks(bytes: string, start: number): { body: string; end: number } | undefined {
  let body = '';
  for (let at = start; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    const line = lineEnd < 0 ? null : chunkLine.exec(bytes.slice(at, lineEnd));
    if (line === null) return undefined;
    const size = Number.parseInt(line[1]!, 16);
    at = lineEnd + 2;
    if (size === 0) return readTrailers(bytes, at, body);
    if (bytes.slice(at + size, at + size + 2) !== '\r\n') return undefined;
    body += bytes.slice(at, at + size);
    at += size + 2;
  }
}

function readTrailers(bytes: string, start: number, body: string): { body: string; end: number } | undefined {
  for (let at = start; ;) {
    const lineEnd = bytes.indexOf('\r\n', at);
    if (lineEnd < 0) return undefined;
    if (lineEnd === at) return { body, end: at + 2 };
    if (!field.test(bytes.slice(at, lineEnd))) return undefined;
    at = lineEnd + 2;
  }
}
