import { describe, expect, test } from 'vitest';
import { refuse } from '../../../sidecar/admin/access.ts';

const request = { path: '/ready', host: '127.0.0.1:4900', authorization: undefined };

describe('without a token', () => {
  test.each(['127.0.0.1:4900', '127.0.0.1', 'localhost:4900', 'LOCALHOST', '[::1]:4900', '10.0.0.7:4900'])(
    'a request addressed to %s is answered',
    (host) => {
      expect(refuse({ ...request, host }, undefined)).toBeUndefined();
    },
  );

  test.each(['evil.example:4900', 'localhost.evil.example', '127.0.0.1.evil.example', '', undefined])(
    'a request addressed to %s, as a rebound DNS name would be, is refused',
    (host) => {
      expect(refuse({ ...request, host }, undefined)).toMatchObject({ status: 403 });
    },
  );
});

describe('with a token', () => {
  test.each(['/', '/page/main.js', '/page/page.css'])('%s is open, as it asks for the token', (path) => {
    expect(refuse({ ...request, path }, 'secret')).toBeUndefined();
  });

  test.each(['/live', '/ready'])('%s is open to probes', (path) => {
    expect(refuse({ ...request, path }, 'secret')).toBeUndefined();
  });

  test.each([undefined, 'Bearer wrong', 'Bearer secre', 'Bearer', 'Basic c2VjcmV0', 'secret'])(
    'everything else is refused with %s',
    (authorization) => {
      expect(refuse({ ...request, path: '/other', authorization }, 'secret')).toMatchObject({ status: 401 });
    },
  );

  test.each(['Bearer secret', 'bearer  secret'])('and answered with %s, under any name', (authorization) => {
    expect(refuse({ path: '/other', host: 'sidecar.internal', authorization }, 'secret')).toBeUndefined();
  });
});
