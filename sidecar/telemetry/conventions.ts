import type { Attributes } from './spans.ts';

/**
 * Attributes by the semantic conventions of OpenTelemetry for HTTP and messaging; Holdline's own start with `holdline.`.
 * Never a header, a body, or a query: queries carry tokens. Each attribute costs at every call, so a span says only what its
 * parent and its resource do not.
 */

/** Methods that may stand in attributes and names as they are (semantic conventions, HTTP); all others are `_OTHER`. */
const knownMethods = new Set(['CONNECT', 'DELETE', 'GET', 'HEAD', 'OPTIONS', 'PATCH', 'POST', 'PUT', 'QUERY', 'TRACE']);

export function methodAttributes(method: string): Attributes {
  return knownMethods.has(method)
    ? ['http.request.method', method]
    : ['http.request.method', '_OTHER', 'http.request.method_original', method];
}

/** How a method stands in the name of a span. */
export function methodName(method: string): string {
  return knownMethods.has(method) ? method : 'HTTP';
}

export function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

/**
 * What is done with an event.
 * @param system what stores it, such as `nats`
 * @param destination the service whose events they are
 */
export function messagingAttributes(
  system: string,
  operation: { readonly name: string; readonly type: 'send' | 'process' },
  destination: string,
  callId: string,
): Attributes {
  return [
    'messaging.system',
    system,
    'messaging.operation.name',
    operation.name,
    'messaging.operation.type',
    operation.type,
    'messaging.destination.name',
    destination,
    'messaging.message.id',
    callId,
  ];
}
