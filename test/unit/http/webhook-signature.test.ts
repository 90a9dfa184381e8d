import { createHmac } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { signatureFields } from '../../../sidecar/http/webhook-signature.ts';

/** The reference vector of the Standard Webhooks libraries. */
const reference = {
  secret: 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw',
  id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
  now: 1_614_265_330_000,
  body: Buffer.from('{"test": 2432232314}'),
  signature: 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
};

describe('the signature of a webhook', () => {
  const { secret, id, now, body, signature } = reference;

  test('is that of the reference vector, with id and time in seconds', () => {
    const fields = ['webhook-id', id, 'webhook-timestamp', '1614265330', 'webhook-signature', signature];
    expect(signatureFields([secret], id, now, body)).toEqual(fields);
    expect(signatureFields([secret], id, now + 999, body)).toEqual(fields);
  });

  test('covers id, time and each byte of the body', () => {
    const of = (...[i, t, b]: [string, number, Uint8Array]) => signatureFields([secret], i, t, b)[5];
    expect(of(`${id}x`, now, body)).not.toBe(signature);
    expect(of(id, now + 1000, body)).not.toBe(signature);
    expect(of(id, now, Buffer.from([...body, 0]))).not.toBe(signature);
  });

  test('a secret that is not whsec_ is the key as it is, and bytes that are no text are signed as they are', () => {
    const bytes = Buffer.from([0, 255, 128]);
    const signed = Buffer.concat([Buffer.from(`${id}.1614265330.`), bytes]);
    const expected = createHmac('sha256', 'schlüssel').update(signed).digest('base64');
    expect(signatureFields(['schlüssel'], id, now, bytes)[5]).toBe(`v1,${expected}`);
  });

  test('while a secret is replaced, both sign', () => {
    const both = signatureFields(['whsec_bmV3', secret], id, now, body)[5];
    expect(both).toBe(`${signatureFields(['whsec_bmV3'], id, now, body)[5]} ${signature}`);
  });
});
