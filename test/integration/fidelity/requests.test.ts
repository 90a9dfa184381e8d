import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exchangeRaw } from '../../support/raw-http.ts';
import { additions, arrivedRequest, expectedRequest } from './difference.ts';
import { startRig, ways, type Rig } from './rig.ts';

let rig: Rig;
beforeAll(async () => (rig = await startRig()));
afterAll(async () => await rig[Symbol.asyncDispose]());

type Case = readonly [what: string, bytes: string];

const lines = (...all: string[]) => `${all.join('\r\n')}\r\n\r\n`;
const head = (line: string, ...fields: string[]) => lines(line, 'Host: payments', ...fields);
const get = (...fields: string[]) => head('GET /charges HTTP/1.1', ...fields);
const post = (...fields: string[]) => head('POST /charges HTTP/1.1', ...fields);
/** A different case of one name before and after another field: grouping them would show. */
const mixed = ['X-A: 1', 'x-b: 2', 'x-a: 3'];

const methods = [
  ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE'],
  ['PROPFIND', 'MKCOL', 'REPORT', 'LOCK', 'QUERY', 'SEARCH', 'PURGE', 'M-SEARCH'],
  // No parser knows these by name, and a method is not the same in another case (RFC 9110 §9.1).
  ['BREW', 'get', 'Get', 'head', 'GETX', 'PROPFINDX', 'X', 'DESCRIBE', "a!#$%&'*+-.^_`|~9"],
].flat();

const targets = [
  ['/', '/?', '/a?', '/?a?b', '/%2F', '/a%2fb', '/%00', '/%zz', '//', '//a//b/', '/http://other/x'],
  ['/..', '/a/../b/./c', '/;a=b;c', '/a;id=1?x;y', '/%7euser', '/~user', '/a+b?c=d+e&c=d', '/?q=a%20b&&=', '/a\\b'],
  ['/{a}|b^`"<>', `/${'x'.repeat(8000)}`],
  // Only what begins with this very path is Holdline's; everything else that could be taken for it belongs to the callee.
  ['/.holdlinex', '/.HOLDLINE/calls/1', '/%2eholdline/calls/1', '/.holdline%2fcalls/1', '//.holdline/calls/1'],
  ['/x/../.holdline/calls/1', '/./.holdline/calls/1', '/;/.holdline/calls/1'],
].flat();

const cases: Case[] = [
  ...methods.map((method): Case => [`${method} without a body`, head(`${method} /charges HTTP/1.1`, ...mixed)]),
  ...methods
    .filter((method) => method !== 'TRACE')
    .map((method): Case => [
      `${method} with a body`,
      head(`${method} /charges HTTP/1.1`, 'X-A: 1', 'content-LENGTH: 3', 'x-b: 2', 'x-a: 3') + 'abc',
    ]),
  ...targets.map((target): Case => [`the target ${target.slice(0, 40)}`, head(`GET ${target} HTTP/1.1`)]),
  ['the target * of OPTIONS', head('OPTIONS * HTTP/1.1')],

  ['header order, case and duplicates', get('b: 1', 'A: 2', 'B: 3', 'a: 4', 'cOOKIE: a=1', 'Cookie: b=2', 'b: 5')],
  ['empty values', get('X-Empty:', 'x-empty: ', 'X-Tab:\t')],
  ['latin-1 bytes and tabs in values', get('X-Latin: caf\xe9 \xff\x80', 'X-Utf8: \xc3\xa9', 'x-tab: a\tb')],
  ['space around values', get('X-Space:   a b  ', 'X-None:a')],
  [
    'Host as the caller wrote it, where it stands',
    lines('GET / HTTP/1.1', 'A: 1', 'hOST: Payments.EXAMPLE:80', 'B: 2'),
  ],
  ['300 fields', get(...Array.from({ length: 300 }, (_, index) => `X-${index}: ${index}`))],

  ['a body with a length', `${post('Content-Type: a/b', 'Content-Length: 6')}\x00\xff\r\n\x80z`],
  ['an empty body', post('Content-Length: 0')],
  ['no body', post()],
  ['chunks', `${post('Transfer-Encoding: chunked')}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`],
  ['no chunks but the last', `${post('Transfer-Encoding: chunked')}0\r\n\r\n`],
  ['chunk extensions', `${post('Transfer-Encoding: chunked')}3;a=b;c="d"\r\nabc\r\n0\r\n\r\n`],
  [
    'trailers',
    `${post('Trailer: X-T', 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\nX-T: 1\r\nx-t: \xe9\r\nX-Empty: \r\n\r\n`,
  ],
  ['DELETE in chunks', `${head('DELETE / HTTP/1.1', 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\n\r\n`],
  [
    'content-encoding',
    `${post('Content-Encoding: gzip', 'Accept-Encoding: br;q=0.1', 'Content-Length: 4')}\x1f\x8b\x08\x00`,
  ],
  [
    'multipart',
    post('Content-Type: multipart/form-data; boundary="b"', 'Content-Length: 68') +
      '--b\r\nContent-Disposition: form-data; name="f"; filename="\xe9"\r\n\r\n--b--',
  ],
  ['ranges', get('Range: bytes=0-1, 5-', 'If-Range: "a"')],
  ['conditions', get('If-None-Match: W/"a", "b"', 'If-Modified-Since: yesterday', 'If-Match: *')],
  ['credentials', get('Authorization: Basic eDp5', 'Cookie: a="b"; c')],
  [
    'fields of the connection',
    get('Connection: x-hop, keep-alive', 'X-Hop: 1', 'Keep-Alive: timeout=5', 'TE: trailers', 'Proxy-Connection: a'),
  ],
  ['what belongs to the proxy', get('Proxy-Authorization: Basic eA==', 'X: 1')],
  ['an offer to upgrade', get('Connection: Upgrade, HTTP2-Settings', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk')],
  [
    'a Connection field that names what a message needs',
    `${post('Connection: host, content-length', 'Content-Length: 1')}a`,
  ],
  [
    'fields that only Holdline may write',
    get('Holdline-Call-Id: 1', 'holdline-attempt: 9', 'HOLDLINE-Caller: root', 'Holdline-Status: 200', 'X-Holdline: 1'),
  ],
  ['a key of the caller', `${post('idempotency-KEY: "k"', 'Content-Length: 1')}a`],
  ['HTTP/1.0', lines('GET /old HTTP/1.0', 'Host: payments', 'X: 1')],
  ['HTTP/1.0 without a Host', lines('GET /old HTTP/1.0')],
  ['HTTP/1.0 with a body', `${lines('POST /old HTTP/1.0', 'Host: payments', 'Content-Length: 3')}abc`],
];

describe.each(ways)('what the callee sees, %s', (way) => {
  test.for(cases)('%s', async ([, bytes]) => {
    const method = bytes.slice(0, bytes.indexOf(' '));
    const before = rig.callee.requests.length;
    await exchangeRaw(rig.port.direct, bytes, { method });
    const sent = await rig.callee.received(before);
    expect(sent.bytes).toBe(bytes);
    const answer = await exchangeRaw(rig.port[way], bytes, { method });
    expect(answer.status, answer.bytes.toString('latin1')).toBe(200);
    const arrived = await rig.callee.received(before + 1);
    const expected = expectedRequest(sent);
    // Where the body's framing changes, the field that announced it goes.
    const added = additions(way, sent);
    expect(arrivedRequest(arrived, sent)).toEqual({ ...expected, added });
    expect(rig.callee.requests).toHaveLength(before + 2);
  });
});
