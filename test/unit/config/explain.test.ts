import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Config } from '../../../sidecar/config/schema.ts';
import { writeYaml } from '../../../sidecar/config/document.ts';
import { explain } from '../../../sidecar/config/explain.ts';
import { formatConfigError, readConfig } from '../../../sidecar/config/load.ts';

function load(text: string): Config {
  const result = readConfig(text, '/etc/holdline/config.yaml', {});
  if (!result.ok) throw new Error(`${result.errors.map(formatConfigError).join('\n')}\n${text}`);
  return result.config;
}

const word = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const time = fc
  .tuple(fc.integer({ min: 1, max: 500 }), fc.constantFrom('ms', 's', 'm', 'h'))
  .map((parts) => parts.join(''));
const url = word.map((host) => `http://${host}:3000/base`);
const path = word.map((segment) => `/${segment}/*`);
const methods = fc.oneof(fc.constant('GET'), fc.constant(['POST', 'PUT']));
const attempts = { attempts: fc.integer({ min: 1, max: 99 }), backoff: fc.constantFrom('1s..2s', '5ms..60s') };
const statuses = fc.array(fc.integer({ min: 400, max: 599 }), { maxLength: 3 });

/** Anything that a file may say and that can be loaded, as plain values. */
const anyConfig = fc.record(
  {
    service: word,
    broker: fc.oneof(
      word.map((host) => `nats://${host},nats://${host}:1`),
      word.map((file) => `sqlite:${file}/x.db`),
      fc.record(
        {
          url: fc.constant('tls://a:4222'),
          namespace: word,
          replicas: fc.integer({ min: 1, max: 5 }),
          retention: fc.record(
            { responses: time, keyed: time, broadcasts: time, deadLetters: time },
            { requiredKeys: [] },
          ),
        },
        { requiredKeys: ['url'] },
      ),
    ),
    outbound: fc.record(
      {
        listen: fc.constantFrom(':4000', '[::1]:4000', 'localhost:0'),
        ports: fc.dictionary(fc.constantFrom('127.0.0.1:1', '[::1]:2'), word),
        unmatched: fc.constantFrom('passthrough', 'deny'),
        limits: fc.record({ held: fc.integer({ min: 1 }), heldBytes: fc.constantFrom('1B', '1536KB', '2GB') }),
        routes: fc.array(
          fc.record(
            {
              match: fc.record({ host: word, method: methods, path }, { requiredKeys: [] }),
              service: word,
              mode: fc.constantFrom('await', 'async', 'broadcast', 'observe', 'passthrough'),
              hold: time,
              onHoldExpired: fc.constantFrom(202, 504),
              deadline: time,
              idempotent: fc.boolean(),
              idempotencyKey: fc.constantFrom('header', 'content', 'none'),
              retry: fc.record({ ...attempts, on: statuses }, { requiredKeys: [] }),
              maxBody: fc.constantFrom('1B', '1025B', '3KB', '32MB'),
              onBrokerDown: fc.constantFrom('fail', 'passthrough'),
            },
            { requiredKeys: [] },
          ),
          { maxLength: 4 },
        ),
        hosts: fc.dictionary(word, url),
      },
      { requiredKeys: [] },
    ),
    inbound: fc.tuple(
      fc.record(
        {
          service: word,
          url,
          concurrency: fc.integer({ min: 1 }),
          rate: fc.constantFrom('1/s', '60/m', '9/h'),
          timeout: time,
          health: fc.record({ path: fc.constant('/h'), interval: time }, { requiredKeys: ['path'] }),
          publishCalls: fc.boolean(),
        },
        { requiredKeys: ['url'] },
      ),
    ),
    subscribe: fc.uniqueArray(
      fc
        .tuple(
          fc.record(
            {
              name: word,
              to: fc.constant('POST /x'),
              from: fc.oneof(fc.constantFrom('new', 'first'), time),
              url,
              retry: fc.record({ ...attempts, on: statuses }, { requiredKeys: [] }),
              timeout: time,
            },
            { requiredKeys: ['name', 'to'] },
          ),
          fc.oneof(
            fc.record({ topic: word }),
            fc.record({
              call: fc.record(
                { service: word, method: methods, path, status: fc.constantFrom(200, '2xx', ['4xx', 503]) },
                { requiredKeys: ['service'] },
              ),
            }),
          ),
        )
        .map(([delivery, source]) => ({ ...delivery, ...source })),
      { selector: ({ name }) => name, maxLength: 3 },
    ),
    shutdown: fc.record({ drain: time }),
    telemetry: fc.record(
      {
        otlp: url,
        traceLink: url.map((text) => `${text}/{traceId}?at={traceId}`),
        log: fc.record({ level: fc.constantFrom('debug', 'silent') }),
      },
      { requiredKeys: [] },
    ),
  },
  { requiredKeys: ['service', 'broker', 'inbound'] },
);

test('what is explained can be loaded again and means the same', () => {
  fc.assert(
    fc.property(anyConfig, (written) => {
      const config = load(writeYaml(written));
      const explained = explain(config);
      const again = load(writeYaml(explained));
      expect(again).toEqual(config);
      expect(explain(again)).toEqual(explained);
    }),
  );
});

test('optional keys that shape a route survive as well', () => {
  const config = load(`
service: orders
broker: sqlite:x.db
inbound: [{ url: "http://127.0.0.1:1" }]
outbound:
  routes:
    - { mode: async, callback: PUT /x, orderBy: "json:/a" }
    - { mode: broadcast, topic: a.b }
    - { orderBy: "header:X-A" }
`);
  expect(load(writeYaml(explain(config)))).toEqual(config);
});

test('no secret is shown', () => {
  const secret = 'hunter2';
  const config = load(`
service: orders
broker: { url: "nats://user:${secret}@a:1,nats://${secret}@b:1" }
outbound: { hosts: { payments: "http://user:${secret}@127.0.0.1:1" } }
inbound: [{ url: "https://user:${secret}@api.example.com" }]
subscribe: [{ name: s, topic: t, to: POST /x, secret: ["${secret}", "whsec_${secret}"] }]
admin: { listen: 0.0.0.0:4900, token: "${secret}" }
telemetry: { otlp: "http://${secret}@127.0.0.1:4318" }
`);
  const explained = explain(config);
  expect(JSON.stringify(config).split(secret)).toHaveLength(10);
  expect(JSON.stringify(explained)).not.toContain(secret);
  expect(explained).toMatchObject({
    broker: { url: 'nats://user:***@a:1,nats://***@b:1' },
    outbound: { hosts: { payments: 'http://user:***@127.0.0.1:1' } },
    inbound: [{ url: 'https://user:***@api.example.com' }],
    subscribe: [{ url: 'https://user:***@api.example.com', secret: ['***', '***'] }],
    admin: { token: '***' },
    telemetry: { otlp: 'http://***@127.0.0.1:4318' },
  });
});

test('the credentials of the broker are masked, its certificates are not', () => {
  const { broker, ...rest } = load('service: a\nbroker: nats://a\ninbound: [{ url: "http://a" }]');
  if (broker.kind !== 'nats') throw new Error('expected nats');
  const explained = explain({
    ...rest,
    broker: { ...broker, credentials: '/run/x.creds', tls: { ca: '/run/ca.pem' } },
  });
  expect(explained['broker']).toMatchObject({ credentials: '***', tls: { ca: '/run/ca.pem' } });
});
