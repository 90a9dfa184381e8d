import { describe, expect, test } from 'vitest';
import type { Config } from '../../../sidecar/config/config.ts';
import { readConfig } from '../../../sidecar/config/load.ts';
import { dealingsOf } from '../../../sidecar/policy/dealings.ts';

function config(text: string): Config {
  const loaded = readConfig(`broker: nats://127.0.0.1:4222\n${text}`, 'x.yaml', {});
  if (!loaded.ok) throw new Error(JSON.stringify(loaded.errors));
  return loaded.config;
}

const answering = (service: string, more = '') =>
  config(`service: ${service}\ninbound: [{ url: "http://127.0.0.1:3000"${more} }]`);
const calling = (...routes: string[]) =>
  config(`service: orders
inbound: [{ url: "http://127.0.0.1:3000" }]
outbound: { routes: [${routes.map((route) => `{ ${route} }`).join(', ')}] }`);

describe('who calls whom', () => {
  const rest = { ordered: false, callbacks: false, published: false };
  const others = [answering('payments'), answering('ship-eu'), answering('ship-us')];

  test.each([
    ['an exact host', ['match: { host: "Payments:8080" }'], [{ callee: 'payments', ...rest }]],
    ['a service', ['match: { host: "*.old" }, service: payments'], [{ callee: 'payments', ...rest }]],
    ['one of whom no file tells', ['match: { host: stock }'], [{ callee: 'stock', ...rest }]],
    [
      'a pattern',
      ['match: { host: "ship*" }'],
      [
        { callee: 'ship-eu', ...rest },
        { callee: 'ship-us', ...rest },
      ],
    ],
    ['what is passed through', ['match: { host: payments }, mode: passthrough'], []],
    ['a broadcast', ['match: { host: events }, mode: broadcast'], []],
    ['an exact host that is no name', ['match: { host: api.example.com }, mode: passthrough'], []],
    [
      'two routes to one callee',
      [
        'match: { host: payments, path: /a }, orderBy: path:1',
        'match: { host: payments }, mode: async, callback: POST /x',
      ],
      [{ callee: 'payments', ordered: true, callbacks: true, published: false }],
    ],
  ])('%s', (_, routes, calls) => {
    const [orders] = dealingsOf([calling(...routes), ...others]);
    expect(orders).toMatchObject({ service: 'orders', outbound: true, calls });
  });

  test('a route without an exact host says that it is open', () => {
    const [orders] = dealingsOf([calling('name: any, match: { method: POST }'), ...others]);
    expect(orders!.open).toEqual(['any']);
    expect(orders!.calls.map(({ callee }) => callee)).toEqual(['orders', 'payments', 'ship-eu', 'ship-us']);
  });

  test('a callee that publishes its calls', () => {
    const [orders] = dealingsOf([calling('match: { host: payments }'), answering('payments', ', publishCalls: true')]);
    expect(orders!.calls).toEqual([{ callee: 'payments', ...rest, published: true }]);
  });
});

describe('who answers whom', () => {
  test('its callers, and by a callback the callee that was called', () => {
    const orders = calling('match: { host: payments }, mode: async, callback: POST /done');
    const all = dealingsOf([orders, answering('payments')]);
    expect(all.map(({ service }) => service)).toEqual(['orders', 'payments']);
    const call = { callee: 'payments', ordered: false, callbacks: true, published: false };
    expect(all.map(({ answers }) => answers)).toEqual([
      [
        {
          service: 'orders',
          callers: [{ caller: 'payments', callbacks: false, onlyKeyed: true }],
          publishesCalls: false,
          calledBack: [call],
        },
      ],
      [
        {
          service: 'payments',
          callers: [{ caller: 'orders', callbacks: true, onlyKeyed: false }],
          publishesCalls: false,
          calledBack: [],
        },
      ],
    ]);
  });

  test('a sidecar that stands for another service', () => {
    const [gate] = dealingsOf([answering('gate', ', service: payments'), calling('match: { host: payments }')]);
    expect(gate).toMatchObject({ service: 'gate', outbound: false, calls: [] });
    expect(gate!.answers).toMatchObject([{ service: 'payments', callers: [{ caller: 'orders', callbacks: false }] }]);
  });
});

test('topics and subscriptions, those to calls included; two files of one service are one', () => {
  const first = config(
    'service: shop\noutbound: { routes: [{ name: paid, match: { host: events }, mode: broadcast }] }',
  );
  const second = config(`service: shop
subscribe:
  - { name: a, topic: order.**, to: POST /a, url: "http://127.0.0.1:3000", from: first, orderBy: json:/a }
  - { name: b, call: { service: payments }, to: POST /b, url: "http://127.0.0.1:3000" }`);
  expect(dealingsOf([first, second, second])).toMatchObject([
    {
      service: 'shop',
      publishes: ['shop.paid'],
      subscribes: [
        { name: 'a', topic: 'order.**', from: { kind: 'first' }, ordered: true },
        { name: 'b', topic: '$call.payments', from: { kind: 'new' }, ordered: false },
      ],
    },
  ]);
});
