import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { callFeedOf } from '../../../sidecar/http/call-feed.ts';
import { deliveryOf, type BroadcastEvent } from '../../../sidecar/model/broadcast.ts';
import { conclude, type ActionEvent, type RawHeaders } from '../../../sidecar/model/call.ts';
import { FilterError } from '../../../sidecar/model/filter.ts';
import { filterTest } from '../../../sidecar/policy/filter.ts';
import { sampleAction } from './sample-action.ts';

const name = { service: 'mail', subscription: 'on-paid' };
const target = { method: 'POST', path: '/hooks', retry: { attempts: 8, backoff: { min: 200, max: 60_000 }, on: [] } };

function delivered(event: Partial<BroadcastEvent> = {}): ActionEvent {
  const whole: BroadcastEvent = {
    id: '01890a5d-ac96-774b-bcce-b302099a8057',
    topic: 'order.paid',
    publisher: 'orders',
    route: 'paid',
    headers: [],
    body: new Uint8Array(),
    hasBody: true,
    at: 1_000,
    fingerprint: 'f',
    ...event,
  };
  return deliveryOf(whole, name, target);
}

function of(body: unknown, headers: RawHeaders = []): ActionEvent {
  return delivered({ body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)), headers });
}

const order = {
  total: 150.5,
  count: 3,
  paid: true,
  note: null,
  constructor: 'odd',
  customer: { country: 'NO', tags: ['vip', 'new'] },
  items: [
    { sku: 'a', price: 5, tags: ['x'] },
    { sku: 'b', price: 50 },
  ],
  at: '2026-03-01T00:00:00Z',
};
const headers = ['X-Country', 'NO', 'Accept-Language', 'nb', 'accept-language', 'en'];

describe('an event is wanted or not', () => {
  test.for([
    ['body.total > 100 && headers["x-country"] == "NO"', 'matches'],
    ['body.total > 200', 'differs'],
    ['body.count == 3', 'matches'],
    ['body.count in [1, 2, 3]', 'matches'],
    ['int(body.count) % 2 == 1', 'matches'],
    ['body.paid', 'matches'],
    ['!body.paid', 'differs'],
    ['body.note == null', 'matches'],
    ['body.constructor == "odd"', 'matches'],
    ['body.customer.country == "NO" && "vip" in body.customer.tags', 'matches'],
    ['body.items.exists(i, i.sku == "b" && i.price > 10)', 'matches'],
    ['body.items.all(i, i.price > 10)', 'differs'],
    ['size(body.items.filter(i, i.price > 10)) == 1', 'matches'],
    ['body.items.exists(i, has(i.tags) && i.tags.exists(t, t == "x"))', 'matches'],
    ['timestamp(body.at) >= timestamp("2026-01-01T00:00:00Z")', 'matches'],
    ['headers["accept-language"] == "nb, en"', 'matches'],
    ['"x-other" in headers', 'differs'],
    ['has(body.vat) && body.vat > 0', 'differs'],
    ['topic.startsWith("order.") && publisher == "orders"', 'matches'],
    ['headers["ce-type"] == topic', 'matches'],
    // What is missing decides nothing where the rest does.
    ['body.vat > 0 || topic == "order.paid"', 'matches'],
    // No value: what is missing, or of another type.
    ['body.vat > 0', 'failed'],
    ['headers["x-other"] == "a"', 'failed'],
    ['body.customer > 3', 'failed'],
    ['body.count + 1 == 4', 'failed'],
    ['body.customer.country', 'failed'],
    ['body.items.exists(i, i.tags.exists(t, t == "z"))', 'failed'],
  ])('%s: %s', ([text, verdict]) => {
    expect(filterTest(text!)(of(order, headers))).toBe(verdict);
  });

  test.for([
    ['no body', '', 'failed'],
    ['a text', 'total=150', 'failed'],
    ['half a document', '{"total":150', 'failed'],
    ['a list', '[150]', 'failed'],
    ['a number', '150', 'failed'],
    ['null', 'null', 'failed'],
    ['bytes that are no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]).toString('latin1'), 'failed'],
    ['a document whatever its content type says', '\uFEFF{"total":150}', 'matches'],
  ])('its body is %s', ([, body, verdict]) => {
    expect(filterTest('body.total > 100')(delivered({ body: Buffer.from(body!, 'utf8') }))).toBe(verdict);
  });

  test('who asks for the topic alone does not mind what the body is', () => {
    expect(filterTest('topic == "order.paid" || body.total > 3')(delivered({ body: Buffer.from('{') }))).toBe(
      'matches',
    );
  });
});

describe('a finished call', () => {
  function told(request: string, status: number, answer: string): ActionEvent {
    const action = sampleAction({
      headers: ['Host', 'payments', 'X-Country', 'NO'],
      body: Buffer.from(request),
      hasBody: true,
    });
    const response = conclude(
      action,
      {
        attempts: [{ attempt: 1, at: 2_000, evidence: 'answered', status, instance: 'i' }],
        answer: {
          status,
          reason: '',
          headers: ['Content-Type', 'application/json'],
          trailers: [],
          body: Buffer.from(answer),
        },
      },
      'answered',
      3_000,
    );
    return deliveryOf(callFeedOf(action, response, 1_000_000)!, name, target);
  }

  test.for([
    ['request.body.amount >= 1000 && response.status == 201', 'matches'],
    ['response.status >= 500', 'differs'],
    ['response.body.state == "captured"', 'matches'],
    ['call.caller == "orders" && call.method == "POST" && call.target == "/charges"', 'matches'],
    ['request.headers["x-country"] == "NO"', 'matches'],
    ['response.headers["content-type"].startsWith("application/json")', 'matches'],
    ['topic == "$call.payments" && publisher == "payments"', 'matches'],
    ['body.data.attempts == 1', 'matches'],
    ['has(request.body.tip) || has(response.body)', 'matches'],
  ])('%s: %s', ([text, verdict]) => {
    expect(filterTest(text!)(told('{"amount":1000}', 201, '{"state":"captured"}'))).toBe(verdict);
  });

  test.for([
    ['has(request.body)', 'differs'],
    ['request.body.amount > 1', 'failed'],
    ['response.status == 201', 'matches'],
  ])('without JSON in it: %s: %s', ([text, verdict]) => {
    expect(filterTest(text!)(told('amount=1000', 201, ''))).toBe(verdict);
  });

  test('is nothing that an ordinary event tells of', () => {
    expect(filterTest('call.caller == "orders"')(of({ data: { call: { caller: 'orders' } } }))).toBe('failed');
  });
});

describe('hostile events', () => {
  const deep = '{"a":'.repeat(100_000) + '1' + '}'.repeat(100_000);
  const wide = JSON.stringify({ items: Array.from({ length: 60_000 }, (_, n) => ({ n })), total: 150 });

  test.for([
    ['body.total > 100', `{"total":150,"deep":${deep}}`, 'matches'],
    ['body.deep == body.deep2', `{"deep":${deep},"deep2":${deep}}`, 'failed'],
    ['body.total > 100', wide, 'matches'],
    ['body.items.exists(i, i.n == -1)', wide, 'differs'],
    ['body.total > 100', '{"total":150,"__proto__":{"total":1},"constructor":{"prototype":{"total":1}}}', 'matches'],
    ['body.__proto__.total == 1', '{"__proto__":{"total":1}}', 'matches'],
    ['body.toString == 1', '{}', 'failed'],
  ])('%s', ([text, body, verdict]) => {
    expect(filterTest(text!)(of(body))).toBe(verdict);
  });

  test('nothing that a body holds makes a filter throw, or takes it out of itself', () => {
    const texts = ['body.a > 1', 'body.a == body.b', 'body.a.exists(x, x == 1)', '"a" in body', 'size(body) > 1'];
    const filters = texts.map(filterTest);
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        for (const json of [a, { a, b }]) {
          for (const filter of filters) expect(['matches', 'differs', 'failed']).toContain(filter(of(json)));
        }
      }),
    );
    expect(filters[0]!(of({ a: 2 }))).toBe('matches');
  });
});

test('what is no filter is refused', () => {
  expect(() => filterTest('body.total >')).toThrow(FilterError);
});
