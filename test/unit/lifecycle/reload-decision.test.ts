import { expect, test } from 'vitest';
import { decideReload } from '../../../sidecar/lifecycle/reload-decision.ts';
import { configOf } from './sample-config.ts';

const text = `
service: orders
broker: nats://127.0.0.1:4222
outbound:
  listen: 127.0.0.1:4000
  routes:
    - name: charge
      match: { host: payments, method: POST }
inbound:
  - url: http://127.0.0.1:3000
`;
const current = configOf(text);

test('the same configuration, however it is written, changes nothing', () => {
  expect(decideReload(current, configOf(`# a comment\n${text}`))).toEqual({ kind: 'unchanged' });
});

test.each([
  ['a route', text.replace('method: POST', 'method: [POST, PUT]')],
  ['a limit', text.replace('listen: 127.0.0.1:4000', 'listen: 127.0.0.1:4000\n  limits: { held: 5 }')],
  ['an inbound url', text.replace(':3000', ':3001')],
  ['the admin listener', `${text}admin: { listen: 127.0.0.1:4901 }`],
  ['the drain time', `${text}shutdown: { drain: 5s }`],
  ['the log level', `${text}telemetry: { log: { level: debug } }`],
  ['where traces are looked at', `${text}telemetry: { traceLink: "http://jaeger/{traceId}" }`],
  ['an inbound entry that goes', text.replace(/inbound:.*$/s, '')],
])('%s is applied live', (_, changed) => {
  expect(decideReload(current, configOf(changed))).toEqual({ kind: 'apply' });
});

test.each([
  ['service', text.replace('service: orders', 'service: shop')],
  ['broker', text.replace(':4222', ':4223')],
  [
    'broker',
    text.replace('broker: nats://127.0.0.1:4222', 'broker: { url: "nats://127.0.0.1:4222", namespace: other }'),
  ],
])('another %s needs a restart', (part, changed) => {
  expect(decideReload(current, configOf(changed))).toEqual({
    kind: 'refuse',
    reasons: [`${part}: a change needs a restart`],
  });
});
