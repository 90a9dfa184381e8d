import { fieldValue } from '../http/headers.ts';
import { signatureFields } from '../http/webhook-signature.ts';
import { bodySize, type ActionEvent, type RawHeaders } from '../model/call.ts';

/**
 * The header fields of an attempt: those that the caller sent, in their order, with case and duplicates, then
 * Holdline's own (contract section 5).
 *
 * Some fields of the caller are not passed on as they are:
 * - `traceparent` and `tracestate`, where the call has a trace of its own that continues the caller's;
 * - `Expect`: the sidecar that took the request has met the expectation, and the content is at hand (RFC 9110 §10.1.1);
 * - `Transfer-Encoding`, which only an event that was published by hand has: beside a length it would let the callee read
 *   another request than the one that is stored (RFC 9112 §11.2);
 * - `Idempotency-Key` without a value, which would make one call of all that have it;
 * - `webhook-…`, where the attempt is signed here;
 * - `Content-Length`, where the stored body is framed in another way (no body, or chunks because of trailers).
 *
 * A body that is stored apart is framed as the caller framed it; one in its event has a length.
 *
 * @param attempt its number over all rounds
 * @param authority for `Host` where the caller sent none (HTTP/1.0)
 * @param secrets sign the attempt
 */
export function requestHeaders(
  action: ActionEvent,
  attempt: number,
  authority: string,
  secrets?: readonly string[],
): string[] {
  const { trace } = action;
  const stored = secrets === undefined ? action.headers : withoutSignature(action.headers);
  const chunked = action.trailers.length > 0 || (action.bodyRef !== undefined && !isSized(stored));
  const length = action.hasBody && !chunked ? String(bodySize(action)) : undefined;
  const headers: string[] = [];
  let hasHost = false;
  let hasKey = false;
  let hasLength = false;
  for (let i = 0; i < stored.length; i += 2) {
    const name = stored[i]!;
    const value = stored[i + 1]!;
    switch (wellKnown(name)) {
      case 'host':
        hasHost = true;
        break;
      case 'expect':
      case 'transfer-encoding':
        continue;
      case 'traceparent':
      case 'tracestate':
        if (trace !== undefined) continue;
        break;
      case 'content-length':
        if (hasLength || value !== length) continue;
        hasLength = true;
        break;
      case 'idempotency-key':
        if (value === '') continue;
        hasKey = true;
        break;
      default:
    }
    headers.push(name, value);
  }
  if (!hasHost) headers.unshift('Host', authority);
  if (chunked) headers.push('Transfer-Encoding', 'chunked');
  else if (length !== undefined && !hasLength) headers.push('Content-Length', length);
  if (!hasKey) headers.push('Idempotency-Key', action.idempotencyKey ?? action.id);
  // A callback is about the call whose answer it carries, not about itself.
  const { id, answerTo } = action;
  headers.push('Holdline-Call-Id', answerTo?.id ?? id, 'Holdline-Attempt', String(attempt));
  headers.push('Holdline-Caller', action.caller);
  if (answerTo !== undefined) headers.push('Holdline-Status', String(answerTo.status));
  if (trace !== undefined) {
    headers.push('traceparent', trace.traceparent);
    if (trace.tracestate !== undefined) headers.push('tracestate', trace.tracestate);
  }
  if (secrets !== undefined) headers.push(...signatureFields(secrets, id, Date.now(), action.body));
  return headers;
}

/** Whoever signed the event on its way here did not sign this attempt. */
function withoutSignature(raw: RawHeaders): string[] {
  return [...fields(raw)].filter(([name]) => !/^webhook-(id|timestamp|signature)$/i.test(name)).flat();
}

function isSized(stored: RawHeaders): boolean {
  return fieldValue(stored, 'content-length') !== undefined;
}

/** Lengths of the names that {@link requestHeaders} looks at: most others need not be lower-cased. */
const LENGTHS = new Set(
  ['host', 'expect', 'transfer-encoding', 'tracestate', 'traceparent', 'content-length', 'idempotency-key'].map(
    (name) => name.length,
  ),
);

function wellKnown(name: string): string | undefined {
  return LENGTHS.has(name.length) ? name.toLowerCase() : undefined;
}

/** The pairs of a raw header list. */
export function* fields(raw: RawHeaders): Generator<[name: string, value: string]> {
  for (let i = 0; i < raw.length; i += 2) yield [raw[i]!, raw[i + 1]!];
}
