import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { RouteMatch } from '../../../sidecar/config/config.ts';
import { compileRoutes, isServiceName, knownCallees, type RoutedRequest } from '../../../sidecar/policy/route.ts';
import { sampleRoute } from './sample-route.ts';

function matches(match: RouteMatch, request: Partial<RoutedRequest>): boolean {
  const router = compileRoutes([sampleRoute({ match })]);
  return router({ host: 'payments', port: 80, method: 'GET', path: '/', ...request }) !== undefined;
}

describe('hosts', () => {
  test.for<[pattern: string, host: string, port: number, expected: boolean]>([
    ['payments', 'payments', 80, true],
    ['payments', 'payments', 8080, true],
    ['Payments', 'payments', 80, true],
    ['payments:8080', 'payments', 8080, true],
    ['payments:8080', 'payments', 80, false],
    ['payments:80', 'payments', 80, true],
    ['payments', 'payments.internal', 80, false],
    ['pay.ents', 'payments', 80, false],
    ['*', 'payments', 80, true],
    ['*', 'payments.internal', 80, false],
    ['*.internal', 'payments.internal', 80, true],
    ['*.internal', 'internal', 80, false],
    ['*.internal', 'a.b.internal', 80, false],
    ['*.internal', '.internal', 80, false],
    ['**.internal', 'a.b.internal', 80, true],
    ['**.internal', 'internal', 80, true],
    ['**.internal', 'notinternal', 80, false],
    ['pay*', 'payments', 80, true],
    ['pay*', 'pay', 80, true],
    ['*-eu.internal:8080', 'payments-eu.internal', 8080, true],
    ['*-eu.internal:8080', 'payments-eu.internal', 80, false],
    ['**', 'any.thing', 1, true],
    ['[::1]', '[::1]', 80, true],
    ['[::1]:8080', '[::1]', 8080, true],
  ])('%s against %s on %i: %s', ([pattern, host, port, expected]) => {
    expect(matches({ host: pattern }, { host, port })).toBe(expected);
  });
});

describe('paths', () => {
  test.for<[pattern: string, path: string, expected: boolean]>([
    ['/charges', '/charges', true],
    ['/charges', '/charges/', false],
    ['/charges', '/Charges', false],
    ['/charges', '/%63harges', false],
    ['/charges/*', '/charges/1', true],
    ['/charges/*', '/charges/', false],
    ['/charges/*', '/charges', false],
    ['/charges/*', '/charges/1/2', false],
    ['/charges/*/refunds', '/charges/1/refunds', true],
    ['/charges/*/refunds', '/charges//refunds', false],
    ['/charges/**', '/charges', true],
    ['/charges/**', '/charges/', true],
    ['/charges/**', '/charges/1/2/3', true],
    ['/charges/**', '/chargesx', false],
    ['/**/refunds', '/refunds', true],
    ['/**/refunds', '/charges/1/refunds', true],
    ['/**/refunds', '/charges/1/xrefunds', false],
    ['/a/**/b/*', '/a/b/c', true],
    ['/a/**/b/*', '/a/x/y/b/c', true],
    ['/file-*.json', '/file-1.json', true],
    ['/file-*.json', '/file-.json', true],
    ['/file-*.json', '/file-1xjson', false],
    ['/file-*.json', '/file-a/b.json', false],
    ['/a(b)+', '/a(b)+', true],
    ['/a(b)+', '/abb', false],
    ['/**', '/a//b/../c;x=1', true],
    ['/**', '*', false],
    ['**', '*', true],
    ['/a/./b', '/a/b', false],
  ])('%s against %s: %s', ([pattern, path, expected]) => {
    expect(matches({ path: pattern }, { path })).toBe(expected);
  });
});

test('methods are compared with case', () => {
  expect(matches({ method: ['POST', 'PUT'] }, { method: 'PUT' })).toBe(true);
  expect(matches({ method: ['POST'] }, { method: 'post' })).toBe(false);
});

test('the first route that matches wins', () => {
  const router = compileRoutes([
    sampleRoute({ name: 'first', match: { path: '/a/**' } }),
    sampleRoute({ name: 'second', match: { path: '/a/b' } }),
    sampleRoute({ name: 'third' }),
  ]);
  const request = { host: 'payments', port: 80, method: 'GET' };
  expect(router({ ...request, path: '/a/b' })?.route.name).toBe('first');
  expect(router({ ...request, path: '/c' })?.route.name).toBe('third');
});

test.for<[service: string | undefined, host: string, callee: string | undefined]>([
  [undefined, 'payments', 'payments'],
  ['billing', 'payments', 'billing'],
  [undefined, 'payments.internal', undefined],
  ['payments', 'payments.internal', 'payments'],
  [undefined, '127.0.0.1', undefined],
  [undefined, '', undefined],
])('service %s, host %s: callee %s', ([service, host, callee]) => {
  const router = compileRoutes([sampleRoute(service === undefined ? {} : { service })]);
  expect(router({ host, port: 80, method: 'GET', path: '/' })?.service).toBe(callee);
});

test('callees that durable routes name in advance', () => {
  const routes = [
    sampleRoute({ match: { host: 'Payments:8080' } }),
    sampleRoute({ match: { host: 'payments' } }),
    sampleRoute({ match: { host: '*.internal' }, service: 'stock' }),
    sampleRoute({ match: { host: '*.internal' } }),
    sampleRoute({ match: { host: 'mail' }, mode: 'passthrough' }),
    sampleRoute({ match: { host: 'pay.internal' } }),
  ];
  expect(knownCallees(routes)).toEqual(['payments', 'stock']);
});

test('a name of a service', () => {
  expect(isServiceName('a'.repeat(63))).toBe(true);
  expect(isServiceName('a'.repeat(64))).toBe(false);
  expect(isServiceName('1a')).toBe(false);
  expect(isServiceName('pay_ments')).toBe(false);
});

const segment = fc.stringMatching(/^[a-z0-9.;%-]{1,6}$/);

test('property: a path without a star matches itself and nothing else', () => {
  fc.assert(
    fc.property(fc.array(segment), fc.array(segment), (one, other) => {
      const [a, b] = [`/${one.join('/')}`, `/${other.join('/')}`];
      expect(matches({ path: a }, { path: a })).toBe(true);
      expect(matches({ path: a }, { path: b })).toBe(a === b);
    }),
  );
});

test('property: ** stands for any number of segments, * for exactly one', () => {
  fc.assert(
    fc.property(fc.array(segment), fc.array(segment), fc.array(segment), (before, between, after) => {
      const path = `/${[...before, ...between, ...after].join('/')}`;
      const patterned = (star: string) => `/${[...before, star, ...after].join('/')}`;
      expect(matches({ path: patterned('**') }, { path })).toBe(true);
      if (between.length !== 1) return;
      expect(matches({ path: patterned('*') }, { path })).toBe(true);
    }),
  );
});
