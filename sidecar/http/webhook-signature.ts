import { createHmac } from 'node:crypto';

/**
 * Standard Webhooks (standardwebhooks.com, version 1 of its symmetric scheme): the fields by which a receiver knows who
 * sent a delivery, and that it is a fresh one.
 *
 * The signature is HMAC-SHA256 over `id.timestamp.body`, once with each secret. While a secret is being replaced the old and the new
 * one both stand in the configuration, and a receiver that knows one of them accepts the delivery.
 *
 * @param secrets as configured: `whsec_` and base64, or any other text, whose UTF-8 bytes are the key
 * @param id the same for every attempt of one delivery
 * @param now ms since the epoch
 */
export function signatureFields(secrets: readonly string[], id: string, now: number, body: Uint8Array): string[] {
  const timestamp = String(Math.floor(now / 1000));
  const signatures = secrets.map((secret) => {
    const hmac = createHmac('sha256', keyOf(secret));
    return `v1,${hmac.update(`${id}.${timestamp}.`).update(body).digest('base64')}`;
  });
  return ['webhook-id', id, 'webhook-timestamp', timestamp, 'webhook-signature', signatures.join(' ')];
}

const prefix = 'whsec_';

function keyOf(secret: string): Buffer {
  return secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), 'base64') : Buffer.from(secret);
}
