import fc from 'fast-check';
import { expect, test } from 'vitest';
import { describe, provesNotSent } from '../../../sidecar/inbound/failure.ts';

function failure(code: string, message = 'it failed'): Error {
  return Object.assign(new Error(message), { code });
}

test.each([
  'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
  'ERR_SSL_TLSV1_ALERT_UNKNOWN_CA',
  'ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE',
  'ERR_SSL_SSL/TLS_ALERT_BAD_CERTIFICATE',
  'ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED',
  'ERR_SSL_SSL/TLS_ALERT_CERTIFICATE_UNKNOWN',
  'ERR_SSL_TLSV1_ALERT_ACCESS_DENIED',
])('failure - %s refuses the handshake: nothing was sent, on a new connection', (code) => {
  expect(provesNotSent(failure(code), true)).toBe(true);
  expect(provesNotSent(failure(code), false)).toBe(false);
});

// Each of these comes without telling how much of the request the service has read.
test.each([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'HPE_INVALID_CONSTANT',
  'HPE_HEADER_OVERFLOW',
  'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC',
  'ERR_SSL_TLSV1_ALERT_INTERNAL_ERROR',
  'ERR_STREAM_PREMATURE_CLOSE',
  'UND_ERR_SOCKET',
  'SOMETHING_NEW',
])('failure - %s during an exchange proves nothing', (code) => {
  expect(provesNotSent(failure(code), true)).toBe(false);
});

test('failure - what is not known proves nothing and has words', () => {
  fc.assert(
    fc.property(fc.string(), fc.string({ minLength: 1 }), fc.boolean(), (code, message, fresh) => {
      fc.pre(!code.startsWith('ERR_SSL_'));
      expect(provesNotSent(failure(code, message), fresh)).toBe(false);
      expect(describe(failure(code, message))).not.toBe('');
    }),
  );
  expect(provesNotSent(new Error('no code'), true)).toBe(false);
  expect(describe('a string')).toBe('a string');
});

test.each([
  { error: failure('ECONNREFUSED'), words: 'connection refused (ECONNREFUSED)' },
  {
    error: failure('CERT_HAS_EXPIRED', 'certificate has expired'),
    words: 'certificate has expired (CERT_HAS_EXPIRED)',
  },
  {
    error: failure('HPE_INVALID_CONSTANT', 'Expected HTTP/'),
    words: 'not a valid HTTP answer: Expected HTTP/ (HPE_INVALID_CONSTANT)',
  },
  {
    error: new AggregateError([failure('ECONNREFUSED'), failure('ECONNREFUSED'), failure('ENETUNREACH')]),
    words: 'connection refused (ECONNREFUSED); network unreachable (ENETUNREACH)',
  },
  { error: new Error('no connection within 10 ms'), words: 'no connection within 10 ms' },
])('failure - in words: $words', ({ error, words }) => {
  expect(describe(error)).toBe(words);
});
