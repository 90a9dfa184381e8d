import { expect, test } from 'vitest';
import { shownHeaders } from '../../../sidecar/http/secret-headers.ts';

test.for([
  'Authorization',
  'proxy-authorization',
  'Cookie',
  'SET-COOKIE',
  'X-Api-Key',
  'Api-Key',
  'X-ApiKey',
  'X-Auth-Token',
  'X-Amz-Security-Token',
  'X-CSRF-Token',
  'Client-Secret',
  'X-Session-Id',
  'Ocp-Apim-Subscription-Key',
  'X-Functions-Key',
  'X-Goog-Iap-Jwt-Assertion',
  'webhook-signature',
])('%s is not shown', (name) => {
  expect(Object.values(shownHeaders([name, 'a', name, 'b']))).toEqual(['[redacted]']);
});

test.for(['Idempotency-Key', 'Host', 'Content-Type', 'X-Tokens-Left', 'Surrogate-Key', 'Keyboard', 'X-Customer'])(
  '%s is shown',
  (name) => {
    expect(shownHeaders([name, 'a', name, 'b'])).toEqual({ [name.toLowerCase()]: 'a, b' });
  },
);
