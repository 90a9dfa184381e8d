import { describe, expect, test } from 'vitest';
import { readRequestFacts } from '../../../sidecar/http/headers.ts';
import { addressOf, isReserved, type Addressed, type Unaddressed } from '../../../sidecar/http/target.ts';

function address(target: string, hosts: string[], rest: { method?: string; minor?: 0 | 1; fixed?: string } = {}) {
  const { method = 'GET', minor = 1, fixed } = rest;
  const facts = readRequestFacts(hosts.flatMap((host) => ['Host', host]));
  return addressOf({ method, target, minorVersion: minor }, facts, fixed);
}

describe('a request is addressed', () => {
  test.for<[target: string, host: string, expected: Partial<Addressed>]>([
    ['/a', 'payments', { scheme: 'http', host: 'payments', port: 80, target: '/a', path: '/a' }],
    ['/a?b?c', 'Payments:8080', { host: 'payments', port: 8080, target: '/a?b?c', path: '/a' }],
    ['//a/../b;c=%2F', 'payments', { target: '//a/../b;c=%2F', path: '//a/../b;c=%2F' }],
    ['/', '[::1]:8080', { host: '[::1]', port: 8080 }],
    ['/', 'payments:', { host: 'payments', port: 80 }],
    ['http://payments/a?x', 'proxy:4000', { host: 'payments', authority: 'payments', target: '/a?x', path: '/a' }],
    ['HTTP://Payments:81/a', 'p', { host: 'payments', port: 81, authority: 'Payments:81', target: '/a' }],
    ['http://payments', 'p', { target: '/', path: '/' }],
    ['http://payments?x=1', 'p', { target: '/?x=1', path: '/' }],
    ['https://payments/a', 'p', { scheme: 'https', port: 443 }],
    ['http://payments//a', 'p', { target: '//a' }],
  ])('%s with Host %s', ([target, host, expected]) => {
    expect(address(target, [host])).toMatchObject(expected);
  });

  test('OPTIONS *', () => {
    expect(address('*', ['payments'], { method: 'OPTIONS' })).toMatchObject({ target: '*', path: '*' });
    expect(address('http://payments', ['p'], { method: 'OPTIONS' })).toMatchObject({ target: '*', host: 'payments' });
  });

  test('a listener for one host says where a request goes, and the caller’s Host stays', () => {
    const fixed = 'payments:8080';
    const expected = { host: 'payments', port: 8080 };
    expect(address('/a', ['127.0.0.1:4101'], { fixed })).toMatchObject(expected);
    expect(address('/a', ['127.0.0.1:4101'], { fixed })).not.toHaveProperty('authority');
    expect(address('http://other/a', ['x'], { fixed })).toMatchObject({ ...expected, authority: 'other' });
    expect(address('/a', [''], { fixed })).toMatchObject(expected);
    expect(address('/a', [], { fixed, minor: 0 })).toMatchObject(expected);
  });

  test('HTTP/1.0 needs no Host', () => {
    expect(address('/a', [], { minor: 0 })).toMatchObject({ host: '', path: '/a' });
  });
});

test.for<[what: string, result: Addressed | Unaddressed]>([
  ['no Host', address('/', [])],
  ['two Hosts', address('/', ['a', 'a'])],
  ['two Hosts and an absolute target', address('http://payments/', ['a', 'b'])],
  ['no Host and an absolute target', address('http://payments/', [])],
  ['an empty Host', address('/', [''])],
  ['a Host with user information', address('/', ['u@a'])],
  ['a Host with a path', address('/', ['a/b'])],
  ['a Host with a space', address('/', ['a b'])],
  ['a Host with two ports', address('/', ['a:1:2'])],
  ['a port that does not exist', address('/', ['a:65536'])],
  ['two Hosts for a listener of one host', address('/', ['a', 'b'], { fixed: 'payments' })],
  ['a malformed Host for a listener of one host', address('/', ['a/b'], { fixed: 'payments' })],
  ['an authority with user information', address('http://u:p@payments/', ['a'])],
  ['an empty authority', address('http:///a', ['a'])],
  ['an authority with a strange port', address('http://payments:x/', ['a'])],
  ['another scheme', address('ftp://payments/a', ['a'])],
  ['* with another method', address('*', ['a'])],
  ['a fragment', address('/a#b', ['a'])],
  ['neither path nor URL', address('a', ['a'])],
])('malformed: %s', ([, result]) => {
  expect(result).toHaveProperty('malformed');
});

test.for<[path: string, expected: boolean]>([
  ['/.holdline', true],
  ['/.holdline/', true],
  ['/.holdline/calls/x', true],
  ['/.holdlinex', false],
  ['//.holdline/', false],
  ['/%2Eholdline/', false],
  ['/a/.holdline/', false],
])('%s is reserved: %s', ([path, expected]) => {
  expect(isReserved(path)).toBe(expected);
});
