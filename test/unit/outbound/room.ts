import type { OutboundConfig, RouteConfig } from '../../../sidecar/config/config.ts';
import { createOutbound, type Outbound } from '../../../sidecar/outbound/outbound.ts';
import { exchangeRaw, type RawResponse } from '../../support/raw-http.ts';
import { sampleRoute } from '../policy/sample-route.ts';
import { MemoryCaller } from './memory-caller.ts';

/** An outbound room with real listeners over a broker in memory. */
export interface Room extends AsyncDisposable {
  readonly outbound: Outbound;
  readonly caller: MemoryCaller;
  readonly port: number;
}

export function sampleOutbound(different: Partial<OutboundConfig> = {}): OutboundConfig {
  return {
    listen: { host: '127.0.0.1', port: 0 },
    ports: [],
    unmatched: 'passthrough',
    limits: { held: 100, heldBytes: 1_000_000 },
    routes: [],
    hosts: {},
    ...different,
  };
}

/** Opens a room whose one route takes everything for `payments`, with what a test wants to be different. */
export async function openRoom(
  route: Partial<RouteConfig> = {},
  config: Partial<OutboundConfig> = {},
  caller: MemoryCaller = new MemoryCaller(),
  options: { readonly stallLimit?: number; readonly headLimit?: number } = {},
): Promise<Room> {
  const routes = [sampleRoute({ match: { host: 'payments' }, ...route })];
  const outbound = createOutbound({
    service: 'orders',
    config: sampleOutbound({ routes, ...config }),
    broker: caller.broker,
    ...options,
  });
  await outbound.open();
  return { outbound, caller, port: portOf(outbound), [Symbol.asyncDispose]: () => outbound.drain(0) };
}

export function portOf(outbound: Outbound, index = 0): number {
  return Number(/:(\d+)$/.exec(outbound.addresses()[index] ?? '')?.[1]);
}

/** Sends a request head (lines separated by `\n`) and body, and reads one answer. */
export function send(port: number, head: string, body = ''): Promise<RawResponse> {
  return exchangeRaw(port, requestBytes(head, body), { method: head.slice(0, head.indexOf(' ')) });
}

export function requestBytes(head: string, body = ''): string {
  return `${head
    .split('\n')
    .map((line) => line.trim())
    .join('\r\n')}\r\n\r\n${body}`;
}

/** A problem as a caller sees it. */
export interface SeenProblem {
  readonly status: number;
  readonly code: string | undefined;
  readonly document: Record<string, unknown>;
}

/** Reads a problem, after checking what all problems have in common. */
export function problemOf(response: RawResponse): SeenProblem {
  const code = header(response, 'Holdline-Error');
  const document = JSON.parse(response.body.toString()) as Record<string, unknown>;
  const problems = [
    header(response, 'Content-Type') === 'application/problem+json' || 'content type',
    document['type'] === `urn:holdline:problem:${code}` || 'type',
    document['status'] === response.status || 'status',
    (typeof document['title'] === 'string' && typeof document['detail'] === 'string') || 'title and detail',
    /^holdline; error=[a-z_]+$/.test(header(response, 'Proxy-Status') ?? '') || 'Proxy-Status',
    document['callId'] === header(response, 'Holdline-Call-Id') || 'call id',
  ].filter((problem) => problem !== true);
  if (problems.length > 0)
    throw new Error(`not a problem as it should be (${problems.join(', ')}): ${response.bytes.toString()}`);
  return { status: response.status, code, document };
}

export function header(response: RawResponse, name: string): string | undefined {
  return response.headers.find(([field]) => field.toLowerCase() === name.toLowerCase())?.[1];
}
