import type { RawHeaders } from '../model/call.ts';

/** What stands in place of a secret value. */
const redacted = '[redacted]';

/** Fields whose values are credentials. */
const secretFields: ReadonlySet<string> = new Set([
  'authorization',
  'proxy-authorization',
  'authentication-info',
  'proxy-authentication-info',
  'cookie',
  'cookie2',
  'set-cookie',
  'set-cookie2',
  'x-forwarded-client-cert',
  'x-goog-iap-jwt-assertion',
  'x-amzn-oidc-data',
  'webhook-signature',
]);

/** Endings by which an application's own credentials are known: `X-Api-Key`, `X-Auth-Token`, `Client-Secret`, … */
const secretEnding =
  /(?:^|[-_])(?:(?:api|access|auth|secret|private|subscription|functions)-?key|token|secret|password|passwd|credentials?|session|session-?id|jwt)$/;

/** Whether the values of this field are not to be shown or passed on to others; `name` in lower case. */
function isSecret(name: string): boolean {
  return secretFields.has(name) || secretEnding.test(name);
}

/**
 * The fields as a mapping for people and programs that read JSON: names in lower case, values of one name joined as RFC
 * 9110 §5.3 has it, those of secret fields redacted.
 */
export function shownHeaders(raw: RawHeaders): Record<string, string> {
  // No prototype: a field may be called `__proto__`.
  const shown = Object.create(null) as Record<string, string>;
  for (let at = 0; at < raw.length; at += 2) {
    const name = raw[at]!.toLowerCase();
    const value = raw[at + 1]!;
    const before = shown[name];
    if (isSecret(name)) shown[name] = redacted;
    else shown[name] = before === undefined ? value : `${before}, ${value}`;
  }
  return shown;
}
