import { randomFillSync } from 'node:crypto';
import type { TraceContext } from '../model/call.ts';

const form = /^(?<version>[0-9a-f]{2})-(?<trace>[0-9a-f]{32})-(?<parent>[0-9a-f]{16})-[0-9a-f]{2}(?<more>-.*)?$/;

/**
 * The caller's trace context (W3C Trace Context, section 3.2) where its headers are valid.
 * @param traceparents the values of all `traceparent` fields; more than one is invalid
 * @param tracestates the values of all `tracestate` fields, in order; they count as one list
 */
export function callerContext(
  traceparents: readonly string[],
  tracestates: readonly string[],
): TraceContext | undefined {
  const [traceparent] = traceparents;
  if (traceparent === undefined || traceparents.length > 1 || !isTraceparent(traceparent)) return undefined;
  const tracestate = tracestates
    .map((value) => value.trim())
    .filter((value) => value !== '')
    .join(',');
  return tracestate === '' ? { traceparent } : { traceparent, tracestate };
}

function isTraceparent(text: string): boolean {
  const groups = form.exec(text)?.groups;
  if (groups === undefined) return false;
  const { version, trace, parent, more } = groups;
  if (version === 'ff' || /^0+$/.test(trace!) || /^0+$/.test(parent!)) return false;
  // Only later versions may append fields.
  return version !== '00' || more === undefined;
}

const size = 24;
const pool = Buffer.alloc(size * 256);
let used = pool.length;

/** The context of a new trace, sampled. */
export function newTrace(): TraceContext {
  if (used === pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  const hex = pool.toString('hex', used, used + size);
  used += size;
  return { traceparent: `00-${hex.slice(0, 32)}-${hex.slice(32)}-01` };
}
