import { expect, test } from 'vitest';
import { orderKey } from '../../../sidecar/config/requests.ts';
import { orderKeyOf, type OrderedRequest } from '../../../sidecar/policy/order.ts';

const json = (value: unknown) => ({ body: Buffer.from(JSON.stringify(value)) });
const text = (body: string) => ({ body: Buffer.from(body) });

test.each<[place: string, request: Partial<OrderedRequest>, key: string | undefined]>([
  ['header:x-customer', { headers: ['X-Customer', '42'] }, '42'],
  ['header:X-Customer', { headers: ['x-customer', '  42 '] }, '42'],
  ['header:x-customer', { headers: ['X-Customer', 'a', 'Host', 'h', 'x-customer', 'b'] }, 'a, b'],
  ['header:x-customer', { headers: ['x-customers', '42', 'x', 'x-customer'] }, undefined],
  ['header:x-customer', { headers: ['x-customer', ' '] }, undefined],
  ['path:1', { target: '/customers/42/orders' }, 'customers'],
  ['path:2', { target: '/customers/42/orders?page=2' }, '42'],
  ['path:2', { target: '/customers/a%20b%2Fc' }, 'a b/c'],
  ['path:2', { target: '/customers/%zz' }, '%zz'],
  ['path:2', { target: '/customers//42' }, undefined],
  ['path:3', { target: '/customers//42' }, '42'],
  ['path:2', { target: '/customers' }, undefined],
  ['path:2', { target: '/customers?x=/y/z' }, undefined],
  ['path:1', { target: '*' }, undefined],
  ['query:tenant', { target: '/x?a=1&tenant=42' }, '42'],
  ['query:tenant', { target: '/x?tenant=a+b%26c&tenant=d' }, 'a b&c'],
  ['query:tenant', { target: '/x?Tenant=42' }, undefined],
  ['query:tenant', { target: '/x?tenant=' }, undefined],
  ['query:tenant', { target: '/x' }, undefined],
  ['json:/customer', json({ customer: 'c' }), 'c'],
  ['json:/customer', json({ customer: 42 }), '42'],
  ['json:/customer', json({ customer: 0 }), '0'],
  ['json:/customer', json({ customer: false }), 'false'],
  ['json:/customer', json({ customer: null }), undefined],
  ['json:/customer', json({ customer: '' }), undefined],
  ['json:/customer', json({ customer: { id: 1 } }), undefined],
  ['json:/customer', json([]), undefined],
  ['json:/customer/id', json({ customer: { id: 1 } }), '1'],
  ['json:/lines/1/item', json({ lines: [{ item: 'a' }, { item: 'b' }] }), 'b'],
  ['json:/lines/01/item', json({ lines: [{ item: 'a' }, { item: 'b' }] }), undefined],
  ['json:/lines/length', json({ lines: ['a'] }), undefined],
  ['json:/a~1b/c~0d', json({ 'a/b': { 'c~d': 'e' } }), 'e'],
  ['json:/~01', json({ '~1': 'e', '/': 'f' }), 'e'],
  ['json:/', json({ '': 'empty name' }), 'empty name'],
  ['json:/constructor/name', json({}), undefined],
  ['json:/0', text('"text"'), undefined],
  ['json:/customer', text('{"customer":'), undefined],
  ['json:/customer', text(''), undefined],
  ['json:/customer', { body: Buffer.from([0xff, 0xfe]) }, undefined],
  ['json:/customer', text('\ufeff{"customer":"ü"}'), 'ü'],
])('%s of %j is %j', (place, request, key) => {
  const whole = { headers: [], target: '/', body: new Uint8Array(0), ...request };
  expect(orderKeyOf(orderKey.parse(place), whole)).toBe(key);
});
