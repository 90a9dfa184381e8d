import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  collide,
  hostName,
  hostPattern,
  httpUrl,
  isLoopback,
  listenAddress,
} from '../../../sidecar/config/addresses.ts';
import { NotationError } from '../../../sidecar/config/notation.ts';
import type { Notation } from '../../../sidecar/config/notation.ts';
import { callTarget, method, orderKey, statusRange, subscriptionStart } from '../../../sidecar/config/requests.ts';
import { duration, durationRange, rate, size, wait } from '../../../sidecar/config/units.ts';

const day = 86_400_000;
const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_-]{0,20}$/);
const label = fc.stringMatching(/^[a-z][a-z0-9]{0,10}$/);
const path = fc.array(label, { maxLength: 4 }).map((segments) => `/${segments.join('/')}`);
const port = fc.nat(65_535);
const ms = fc.integer({ min: 1, max: 24 * day });

/** One property for each notation: what is written is read back, and editors accept it. */
function expectSurvival<T>(notation: Notation<T>, values: fc.Arbitrary<T>): void {
  fc.assert(
    fc.property(values, (value) => {
      const text = notation.format(value);
      expect(notation.parse(text)).toEqual(value);
      expect(text).toMatch(notation.pattern);
    }),
  );
}

describe('what format writes, parse reads, and the pattern for editors accepts', () => {
  test('duration', () => expectSurvival(duration, fc.integer({ min: 1, max: 3650 * day })));
  test('wait', () => expectSurvival(wait, ms));
  test('range of durations', () => {
    expectSurvival(
      durationRange,
      fc.tuple(ms, ms).map(([a, b]) => ({ min: Math.min(a, b), max: Math.max(a, b) })),
    );
  });
  test('size', () => expectSurvival(size, fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })));
  test('rate', () => {
    expectSurvival(rate, fc.record({ count: fc.integer({ min: 1 }), perMs: fc.constantFrom(1000, 60_000, 3_600_000) }));
  });
  test('listen address', () => {
    const host = fc.oneof(
      fc.ipV4(),
      fc.ipV6().filter((text) => !text.includes('.')),
      label,
    );
    expectSurvival(listenAddress, fc.record({ host, port }));
  });
  test('host name', () =>
    expectSurvival(
      hostName,
      fc.oneof(
        label,
        fc.tuple(label, port).map(([a, b]) => `${a}:${b}`),
      ),
    ));
  test('http url', () =>
    expectSurvival(
      httpUrl,
      fc.tuple(label, path).map(([host, rest]) => `http://${host}${rest === '/' ? '' : rest}`),
    ));
  test('call', () => expectSurvival(callTarget, fc.record({ method: fc.constantFrom('GET', 'POST', 'X-OWN'), path })));
  test('ordering key', () => {
    expectSurvival(
      orderKey,
      fc.oneof(
        fc.record({ kind: fc.constant('header' as const), name: token.map((text) => text.toLowerCase()) }),
        fc.record({ kind: fc.constant('path' as const), segment: fc.integer({ min: 1 }) }),
        fc.record({ kind: fc.constant('query' as const), name: token }),
        fc.record({ kind: fc.constant('json' as const), pointer: path }),
      ),
    );
  });
  test('starting point', () => {
    expectSurvival(
      subscriptionStart,
      fc.oneof(
        fc.constantFrom({ kind: 'new' as const }, { kind: 'first' as const }),
        ms.map((ago) => ({ kind: 'ago' as const, ago })),
      ),
    );
  });
  test('status', () => {
    expectSurvival(
      statusRange,
      fc.oneof(
        fc.integer({ min: 100, max: 599 }).map((status) => ({ from: status, to: status })),
        fc.integer({ min: 1, max: 5 }).map((digit) => ({ from: digit * 100, to: digit * 100 + 99 })),
      ),
    );
  });
});

describe('people’s own ways to write are read', () => {
  test.for<[string, number]>([
    ['250ms', 250],
    ['30s', 30_000],
    ['30 s', 30_000],
    ['10m', 600_000],
    ['24h', day],
    ['7d', 7 * day],
    ['1000ms', 1000],
  ])('%s is %d ms', ([text, expected]) => expect(duration.parse(text)).toBe(expected));

  test.for<[string, number]>([
    ['1B', 1],
    ['512KB', 524_288],
    ['8MB', 8_388_608],
    ['2 GB', 2_147_483_648],
  ])('%s is %d bytes', ([text, expected]) => expect(size.parse(text)).toBe(expected));

  test.for<[string, { host: string; port: number }]>([
    ['127.0.0.1:4000', { host: '127.0.0.1', port: 4000 }],
    ['[::1]:4000', { host: '::1', port: 4000 }],
    ['0.0.0.0:80', { host: '0.0.0.0', port: 80 }],
    [':4000', { host: '0.0.0.0', port: 4000 }],
    ['Localhost:0', { host: 'localhost', port: 0 }],
  ])('%s', ([text, expected]) => expect(listenAddress.parse(text)).toEqual(expected));

  test.for([
    ['http://127.0.0.1:3000/', 'http://127.0.0.1:3000'],
    ['HTTPS://Api.Example.com/v1//', 'https://api.example.com/v1'],
    ['http://[::1]:3000', 'http://[::1]:3000'],
  ])('%s is %s', ([text, expected]) => expect(httpUrl.parse(text!)).toBe(expected));
});

test('durations are written as people say them', () => {
  expect(
    [1, 1000, 1500, 30_000, 60_000, 120_000, 3_600_000, day, 2 * day, 30 * day].map((value) => duration.format(value)),
  ).toEqual(['1ms', '1s', '1500ms', '30s', '60s', '2m', '1h', '24h', '2d', '30d']);
});

describe('what cannot be meant is refused with what is allowed', () => {
  const refused: readonly [Notation<unknown>, readonly string[]][] = [
    [duration, ['', '30', 's', '30S', '-1s', '1.5s', '1h30m', '0s', '0ms', '3651d', ' 30s', '99999999999999999999d']],
    [wait, ['25d', '1y']],
    [size, ['', '8', '8mb', '8MiB', '0KB', '-1B', '1.5GB', '9007199254740992GB']],
    [durationRange, ['', '1s', '1s..', '..1s', '1s...2s', '1s..2s..3s', '2s..1s', '1..2']],
    [rate, ['', '200', '0/s', '1.5/s', '200/d', '200/ s x', '-1/s']],
    [
      listenAddress,
      ['', '4000', '127.0.0.1', '127.0.0.1:', '1.2.3:80', '999.0.0.1:80', '::1:80', '[x]:80', 'a:65536', 'a b:1'],
    ],
    [hostName, ['', 'http://payments', 'pay ments', '*.internal', 'payments/x', 'payments:', 'payments:99999']],
    [hostPattern, ['', 'https://payments', 'pay?ments']],
    [
      httpUrl,
      ['', 'payments', '127.0.0.1:3000', 'ftp://x', 'http://', 'http:///x', 'http://x?y', 'http://x#y', 'http://x:y'],
    ],
    [method, ['', 'get', 'Post', 'G T', 'GET,POST']],
    [callTarget, ['', 'POST', '/x', 'POST x', 'POST /x y', 'post /x', 'POST /x#y']],
    [
      orderKey,
      ['', 'header', 'header:', 'header:a b', 'path:0', 'path:x', 'path:-1', 'json:a', 'json:/~2', 'cookie:x'],
    ],
    [subscriptionStart, ['', 'old', 'New', '0s', '24']],
    [statusRange, ['', '99', '600', '6xx', '20x', 'xx']],
  ];
  test.for(refused.flatMap(([notation, texts]) => texts.map((text) => ({ what: notation.what, text, notation }))))(
    '"$text" is not $what',
    ({ text, notation }) => {
      expect(() => notation.parse(text)).toThrow(NotationError);
      expect(() => notation.parse(text)).toThrow(/expected|did you mean|at most|more than/);
    },
  );

  test('never by repeating what could be a password', () => {
    expect(() => httpUrl.parse('http://user:hunter2@x?y')).toThrow('"http://***@x?y"');
    expect(() => hostName.parse('http://user:hunter2@x')).toThrow('expected only the host name: x');
  });
});

test('only addresses of the own machine are loopback', () => {
  const loopback = (text: string) => isLoopback(listenAddress.parse(text));
  expect(['127.0.0.1:1', '127.9.9.9:1', '[::1]:1', 'localhost:1'].filter((text) => !loopback(text))).toEqual([]);
  expect([':1', '0.0.0.0:1', '[::]:1', '10.0.0.1:1', '127.example.com:1', '[::2]:1'].filter(loopback)).toEqual([]);
});

test.for([
  ['127.0.0.1:1', '127.0.0.1:1', true],
  ['127.0.0.1:1', '127.0.0.1:2', false],
  ['127.0.0.1:0', '127.0.0.1:0', false],
  ['127.0.0.1:1', '127.0.0.2:1', false],
  ['localhost:1', '127.0.0.1:1', true],
  ['0.0.0.0:1', '127.0.0.1:1', true],
  ['0.0.0.0:1', '[::1]:1', false],
  ['[::]:1', '[::1]:1', true],
  ['[::]:1', '127.0.0.1:1', true],
  ['[::]:1', '0.0.0.0:1', true],
] as const)('%s and %s collide: %s', ([a, b, expected]) => {
  expect(collide(listenAddress.parse(a), listenAddress.parse(b))).toBe(expected);
  expect(collide(listenAddress.parse(b), listenAddress.parse(a))).toBe(expected);
});
