import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  endToEndAnswer,
  endToEndRequest,
  fieldValue,
  readRequestFacts,
  upgradeRequest,
  withoutField,
} from '../../../sidecar/http/headers.ts';

function sent(raw: string[], authority?: string): readonly string[] {
  return endToEndRequest(raw, readRequestFacts(raw), authority);
}

describe('what goes on of a request', () => {
  test.for<[what: string, raw: string[], kept: string[]]>([
    ['case, order, duplicates', ['x-B', '1', 'X-a', '2', 'X-b', '3'], ['x-B', '1', 'X-a', '2', 'X-b', '3']],
    ['Connection', ['A', '1', 'Connection', 'close'], ['A', '1']],
    ['what Connection lists', ['Connection', 'x-a, X-B', 'X-A', '1', 'x-b', '2', 'X-C', '3'], ['X-C', '3']],
    ['two Connection fields', ['connection', 'x-a', 'Connection', 'x-b', 'X-B', '2', 'X-A', '1'], []],
    ['Keep-Alive', ['keep-ALIVE', 'timeout=5'], []],
    ['Proxy-Connection', ['Proxy-Connection', 'keep-alive'], []],
    ['TE', ['TE', 'trailers'], []],
    ['Transfer-Encoding', ['Transfer-Encoding', 'chunked'], []],
    ['Upgrade', ['Upgrade', 'h2c', 'Connection', 'Upgrade, HTTP2-Settings', 'HTTP2-Settings', 'x'], []],
    ['Proxy-Authorization', ['Proxy-Authorization', 'Basic x', 'Authorization', 'y'], ['Authorization', 'y']],
    ['Expect', ['Expect', '100-continue'], []],
    ['Holdline-*', ['holdline-call-id', '1', 'Holdline-Anything', '2', 'Holdline', '3'], ['Holdline', '3']],
    ['Trailer stays', ['Trailer', 'X-Sum'], ['Trailer', 'X-Sum']],
    ['Connection cannot take Host away', ['Host', 'a', 'Connection', 'Host, Content-Length'], ['Host', 'a']],
  ])('%s', ([, raw, kept]) => {
    expect(sent(raw)).toEqual(kept);
  });

  test('the authority of an absolute target takes the place of Host', () => {
    expect(sent(['A', '1', 'HOST', 'x', 'B', '2'], 'payments:81')).toEqual(['A', '1', 'HOST', 'payments:81', 'B', '2']);
    expect(sent(['A', 'host'], 'payments')).toEqual(['Host', 'payments', 'A', 'host']);
  });

  test('an upgrade keeps what it is asked with', () => {
    const raw = [
      'Connection',
      'keep-alive, Upgrade, x-a',
      'Upgrade',
      'websocket',
      'X-A',
      '1',
      'TE',
      'x',
      'Holdline-Hops',
      'y',
    ];
    expect(upgradeRequest(raw, readRequestFacts(raw))).toEqual(raw.slice(0, 4));
  });
});

test('what goes on of an answer', () => {
  const raw = ['connection', 'close, X-hop', 'x-HOP', '1', 'Set-Cookie', 'a', 'set-cookie', 'b'];
  const own = [
    'Holdline-Error',
    'exhausted',
    'Transfer-Encoding',
    'chunked',
    'Trailer',
    'X-Sum',
    'Proxy-Authenticate',
    'x',
  ];
  expect(endToEndAnswer([...raw, ...own])).toEqual(['Set-Cookie', 'a', 'set-cookie', 'b', 'Trailer', 'X-Sum']);
});

test('facts of a request', () => {
  const lines = `HOST: a
host: b
Content-LENGTH: 12
Transfer-Encoding: GZIP
transfer-encoding: chunked
Connection: Keep-Alive, ,X-A
Content-Type: text/plain
Prefer: wait=1
prefer: respond-async
Idempotency-Key: k
traceparent: t
tracestate: s1
TraceState: s2
Holdline-Hops: h`;
  const facts = readRequestFacts(lines.split('\n').flatMap((line) => line.split(': ')));
  expect(facts).toEqual({
    hosts: ['a', 'b'],
    contentLength: 12,
    transferEncoding: 'gzip, chunked',
    connection: ['keep-alive', 'x-a'],
    contentType: 'text/plain',
    prefer: ['wait=1', 'respond-async'],
    idempotencyKeys: ['k'],
    traceparent: ['t'],
    tracestate: ['s1', 's2'],
    hops: 'h',
    callId: undefined,
    hasOwnFields: true,
  });
});

test('single fields', () => {
  const raw = ['Content-Length', '1', 'content-length', '2', 'Length', '3'];
  expect(fieldValue(raw, 'content-length')).toBe('1');
  // A value is no name.
  expect(fieldValue(['A', 'length'], 'length')).toBeUndefined();
  expect(withoutField(raw, 'content-length')).toEqual(['Length', '3']);
});

const name = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,10}$/);
const fields = fc.array(fc.tuple(name, fc.string({ maxLength: 5 }))).map((list) => list.flat());

test('property: what goes on is what came, less some fields, in order; and cleaning twice changes nothing', () => {
  fc.assert(
    fc.property(fields, (raw) => {
      const once = sent(raw);
      expect(sent([...once])).toEqual(once);
      const rest = [...raw];
      for (let at = 0; at < once.length; at += 2) {
        for (;;) {
          const [field, value] = rest.splice(0, 2);
          if (field === undefined) expect.unreachable('a field that did not come');
          if (field === once[at] && value === once[at + 1]) break;
        }
      }
    }),
  );
});
