import { expect, test } from 'vitest';
import { isOutside } from '../../../sidecar/config/addresses.ts';

test.for([
  ['https://hooks.example.com/in', true],
  ['https://10.0.0.1', true],
  ['https://localhost:8443', true],
  ['http://hooks.shop.com', true],
  ['http://hooks.shop.com.:8080/x', true],
  ['http://svc.shop.com', true],
  ['http://127.0.0.1:3000', false],
  ['http://[::1]:3000', false],
  ['http://10.0.0.1', false],
  ['http://0x7f.1', false],
  ['http://localhost:3000', false],
  ['http://notifications:3000', false],
  ['http://payments.default.svc', false],
  ['http://payments.default.svc.cluster.local', false],
  ['http://payments.corp.internal.', false],
] as const)('%s is outside: %s', ([url, expected]) => {
  expect(isOutside(url)).toBe(expected);
});
