import { createHash, timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';
import { isPage } from './page.ts';

/** Why a request is turned away. */
export interface Refusal {
  readonly status: 401 | 403;
  readonly error: string;
}

/** What is known of a request before it is answered. */
export interface AccessRequest {
  readonly path: string;
  readonly host: string | undefined;
  readonly authorization: string | undefined;
}

/** Probes come without credentials; so does a browser that asks for the page, which then asks for the token. */
function isOpen(path: string): boolean {
  return path === '/live' || path === '/ready' || isPage(path);
}

/**
 * Decides whether a request may be answered.
 *
 * Without a token only programs of this machine reach the listener, and a web page in a browser of this machine is one
 * of them: by a DNS name of its own that suddenly points to loopback it would be "same origin" (DNS rebinding). Such a
 * request carries that name in `Host`, so names other than `localhost` are refused there. A page elsewhere
 * cannot know a token, so with one any name will do.
 */
export function refuse(request: AccessRequest, token: string | undefined): Refusal | undefined {
  if (token === undefined) {
    if (request.host !== undefined && isOwnName(request.host)) return undefined;
    return { status: 403, error: 'the admin listener is addressed by an IP address or as localhost' };
  }
  if (isOpen(request.path) || sameToken(request.authorization, token)) return undefined;
  return { status: 401, error: 'Authorization: Bearer with the admin token is required' };
}

/** What a browser, and a program that knows what it does, say of a request that changes something. */
export interface ActionRequest {
  readonly host: string | undefined;
  readonly origin: string | undefined;
  readonly contentType: string | undefined;
  /** `Sec-Fetch-Site`: who caused it, as the browser says. */
  readonly site: string | undefined;
}

/**
 * Decides whether a request may change something. A page of another site can make a browser of this machine send a form
 * here without asking first, but not one whose content is JSON; and browsers say where a request comes from.
 */
export function refuseAction({ host, origin, contentType, site }: ActionRequest): Refusal | undefined {
  const isJson = contentType?.split(';', 1)[0]!.trim().toLowerCase() === 'application/json';
  if (!isJson) return { status: 403, error: 'a request that changes something says Content-Type: application/json' };
  const isForeign = origin !== undefined && origin !== `http://${host}` && origin !== `https://${host}`;
  const isElsewhere = site !== undefined && site !== 'same-origin' && site !== 'none';
  if (isForeign || isElsewhere) return { status: 403, error: 'a page of another site may not do that' };
  return undefined;
}

function isOwnName(host: string): boolean {
  const name = host.replace(/:\d*$/, '').toLowerCase();
  return name === 'localhost' || isIP(name.replace(/^\[(.*)\]$/, '$1')) !== 0;
}

function sameToken(authorization: string | undefined, token: string): boolean {
  const given = /^Bearer +(.+)$/i.exec(authorization ?? '')?.[1]?.trim();
  if (given === undefined) return false;
  // Digests are equally long, which the comparison wants, and hide how long the token is.
  return timingSafeEqual(digest(given), digest(token));
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
