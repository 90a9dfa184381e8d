import type { ClientRequest } from 'node:http';

/** A request method: any token (RFC 9110 §9.1). */
export const methodPattern = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;

/** Methods to which Node's client adds no framing of its own where there is no body. */
const bodiless: ReadonlySet<string> = new Set(['GET', 'HEAD', 'DELETE', 'OPTIONS', 'TRACE']);

/** The method with which a request is made whose own one follows by {@link setMethod}. */
export const provisionalMethod = 'GET';

/**
 * Whether Node's client would send a request with this method as it is: it writes methods in upper case, and announces
 * chunks where most methods come without a body.
 */
export function isSentAsIs(method: string, hasBody: boolean): boolean {
  return (hasBody || bodiless.has(method)) && method === method.toUpperCase();
}

/**
 * Gives a request that was made with {@link provisionalMethod} and a flat list of headers, and is not on its way yet, its
 * own method. Node offers no way to do so: a head given as a list is put into bytes by the constructor.
 * @throws {TypeError} where it is no method
 */
export function setMethod(outgoing: ClientRequest, method: string): void {
  if (!methodPattern.test(method)) throw new TypeError(`${JSON.stringify(method)} is not an HTTP method`);
  const written = outgoing as ClientRequest & { _header: string };
  if (!written._header.startsWith(`${provisionalMethod} `))
    throw new Error('the head of the request is not as expected');
  written._header = method + written._header.slice(provisionalMethod.length);
  outgoing.method = method;
}
