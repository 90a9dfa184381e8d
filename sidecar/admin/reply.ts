import { STATUS_CODES } from 'node:http';
import type { ProblemCode } from '../model/problem-code.ts';

/** An answer of the admin listener. */
export interface Reply {
  readonly status: number;
  /** Goes as JSON, unless `type` says what it is: then it is text. */
  readonly body: unknown;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * A problem (RFC 9457).
 * @param code one of those that callers get, where it fits; what is about the listener itself has none
 */
export function refusal(status: number, detail: string, code?: ProblemCode, callId?: string): Reply {
  const type = code === undefined ? 'about:blank' : `urn:holdline:problem:${code}`;
  const title = STATUS_CODES[status] ?? 'Error';
  const document = { type, title, status, detail, ...(callId !== undefined && { callId }) };
  return { status, body: `${JSON.stringify(document, undefined, 2)}\n`, type: 'application/problem+json' };
}
