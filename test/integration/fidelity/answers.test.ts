import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { exchangeRaw } from '../../support/raw-http.ts';
import { addedToAnswer, visibleAnswer } from './difference.ts';
import { startRig, ways, type Rig, type Way } from './rig.ts';

let rig: Rig;
beforeAll(async () => (rig = await startRig()));
afterAll(async () => await rig[Symbol.asyncDispose]());

type Case = readonly [what: string, answer: string, method?: 'HEAD'];

const lines = (...all: string[]) => `${all.join('\r\n')}\r\n\r\n`;
const ok = (...fields: string[]) => lines('HTTP/1.1 200 OK', ...fields);

const statuses = [
  [200, 201, 202, 203, 206, 207, 208, 226, 299, 300, 301, 302, 303, 307, 308],
  [400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 414, 415, 416, 417, 418, 421, 422, 423],
  [424, 425, 426, 428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 506, 507, 508, 510, 511, 599, 600, 999],
].flat();

const cases: Case[] = [
  ...statuses.map((status): Case => [
    `${status}`,
    `${lines(`HTTP/1.1 ${status} Told so`, 'X: 1', 'Content-Length: 2')}ok`,
  ]),
  ['204', lines('HTTP/1.1 204 No Content', 'X: 1')],
  ['205 with no content', lines('HTTP/1.1 205 Reset Content', 'Content-Length: 0')],
  ['304 with the length of what it is about', lines('HTTP/1.1 304 Not Modified', 'ETag: "a"', 'Content-Length: 70')],
  ['304 without a length', lines('HTTP/1.1 304 Not Modified', 'ETag: "a"')],
  ['HEAD with a length', ok('Content-Length: 70'), 'HEAD'],
  ['HEAD of what would be too large', ok('Content-Length: 70000000000'), 'HEAD'],
  ['304 about what would be too large', lines('HTTP/1.1 304 Not Modified', 'ETag: "a"', 'Content-Length: 70000000000')],
  ['HEAD without a length', ok('X: 1'), 'HEAD'],
  ['HEAD of what would come in chunks', ok('Transfer-Encoding: chunked', 'X: 1'), 'HEAD'],
  ['HEAD, 404', lines('HTTP/1.1 404 Not Found', 'Content-Length: 3'), 'HEAD'],

  ['an empty reason', lines('HTTP/1.1 200 ', 'Content-Length: 0')],
  ['no reason', lines('HTTP/1.1 200', 'Content-Length: 0')],
  ['a reason in latin-1', lines('HTTP/1.1 200 Tr\xe8s bien \xc3\xa9', 'Content-Length: 0')],
  ['a reason of its own', lines('HTTP/1.1 200 Not Found: 404', 'Content-Length: 0')],

  ['header order, case and duplicates', ok('b: 1', 'A: 2', 'content-LENGTH: 0', 'B: 3', 'a: 4', 'b: 5')],
  ['empty values and latin-1 bytes', ok('X-Empty:', 'x-empty: ', 'X-Latin: caf\xe9 \xff\x80', 'Content-Length: 0')],
  [
    'Set-Cookie',
    ok(
      'Set-Cookie: a=1; Path=/',
      'X: 1',
      'set-cookie: b=2; Expires=Wed, 21 Oct 2015 07:28:00 GMT',
      'SET-COOKIE: c',
      'Content-Length: 0',
    ),
  ],
  [
    'Date, Server, Via and Age of the callee',
    ok('Date: never', 'Server: x', 'Via: 1.1 a', 'Age: 3', 'Content-Length: 0'),
  ],
  [
    'two challenges',
    lines('HTTP/1.1 401 No', 'WWW-Authenticate: Basic', 'www-authenticate: Digest realm="a, b"', 'Content-Length: 0'),
  ],
  [
    '500 fields',
    ok(...Array.from({ length: 500 }, (_, index) => `X-${index}: ${'v'.repeat(40)}`), 'Content-Length: 0'),
  ],
  [
    'fields of the connection',
    ok(
      'Connection: x-hop, keep-alive',
      'X-Hop: 1',
      'Keep-Alive: timeout=5',
      'Upgrade: h2c',
      'Proxy-Authenticate: x',
      'Content-Length: 0',
    ),
  ],
  [
    'fields that only Holdline may write',
    ok(
      'Holdline-Error: exhausted',
      'holdline-call-id: 1',
      'Holdline-Outcome: exhausted',
      'X-Holdline: 1',
      'Content-Length: 0',
    ),
  ],
  [
    'a problem of its own',
    `${lines('HTTP/1.1 400 Bad', 'Content-Type: application/problem+json', 'Proxy-Status: a; error=b', 'Content-Length: 2')}{}`,
  ],

  ['bytes with a length', `${ok('Content-Length: 6')}\x00\xff\r\n\x80z`],
  ['chunks', `${ok('Transfer-Encoding: chunked', 'X: 1')}3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n`],
  ['no chunks but the last', `${ok('Transfer-Encoding: chunked')}0\r\n\r\n`],
  [
    'trailers',
    `${ok('Trailer: X-T', 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\nX-T: 1\r\nx-t: \xe9\r\nX-Empty: \r\n\r\n`,
  ],
  ['content-encoding', `${ok('Content-Encoding: gzip', 'Vary: Accept-Encoding', 'Content-Length: 4')}\x1f\x8b\x08\x00`],
  [
    'a range',
    `${lines('HTTP/1.1 206 Partial Content', 'Content-Range: bytes 0-1/9', 'ETag: W/"a"', 'Content-Length: 2')}ab`,
  ],
  [
    'several ranges',
    lines('HTTP/1.1 206 Partial Content', 'Content-Type: multipart/byteranges; boundary=b', 'Content-Length: 44') +
      '--b\r\nContent-Range: bytes 0-1/9\r\n\r\nab\r\n--b--',
  ],
];

/** These end with the connection. */
const closing: Case[] = [
  ['an answer that ends with its connection', `${ok('X: 1')}all of it`],
  ['nothing, until the connection ends', ok('X: 1')],
  ['an answer of HTTP/1.0', `${lines('HTTP/1.0 200 OK', 'X: 1')}all of it`],
  ['Connection: close', `${ok('Connection: close', 'Content-Length: 2')}ok`],
];

/** The answer to a direct call, and to one that went this way. */
async function bothAnswers(way: Way, method: string) {
  const request = `${method} / HTTP/1.1\r\nHost: payments\r\n\r\n`;
  const direct = await exchangeRaw(rig.port.direct, request, { method });
  const answer = await exchangeRaw(rig.port[way], request, { method });
  return {
    direct: { ...visibleAnswer(direct), added: way === 'passthrough' ? [] : ['Holdline-Call-Id'] },
    through: { ...visibleAnswer(answer), added: addedToAnswer(answer, direct) },
  };
}

describe.each(ways)('what the caller sees, %s', (way) => {
  test.for(cases)('%s', async ([, answer, method = 'GET']) => {
    rig.callee.reacts(answer);
    const { direct, through } = await bothAnswers(way, method);
    expect(through).toEqual(direct);
  });

  test.for(closing)('%s', async ([, answer]) => {
    rig.callee.reacts((socket) => socket.end(Buffer.from(answer, 'latin1')));
    const { direct, through } = await bothAnswers(way, 'GET');
    expect(through).toEqual(direct);
  });
});
