import { createHash, randomBytes, randomInt, randomUUID, type Hash } from 'node:crypto';

/**
 * Call ids are UUIDs (RFC 9562): version 7 for a new call, version 8 derived from the key where there is one, so that
 * any instance can compute it. Both carry 12 bits of the callee's name, and version 7 also the instance that holds the
 * call; so the one who knows an id finds the stored events by exact subject, never by a search.
 *
 * ```
 * v7: unix_ts_ms(48) ver(4)=7 callee(12) var(2) instance(20) counter(18) random(24)
 * v8: digest(48)     ver(4)=8 callee(12) var(2) digest(62)
 * ```
 */

/** Twenty bits that tell the instances of one service apart, five hex digits. */
export type InstanceTag = string;

const COUNTER_BITS = 18;

export function newInstanceTag(): InstanceTag {
  return randomInt(1 << 20)
    .toString(16)
    .padStart(5, '0');
}

function digest(...parts: string[]): Buffer {
  const hash = createHash('sha256');
  // Lengths keep ("a", "bc") and ("ab", "c") apart.
  for (const part of parts) hash.update(`${Buffer.byteLength(part)}:`).update(part);
  return hash.digest();
}

const serviceBits = new Map<string, string>();

/** The three hex digits by which an id names its callee: a hint that narrows a search, not a proof. */
export function serviceHint(service: string): string {
  let bits = serviceBits.get(service);
  if (bits === undefined) {
    bits = digest(service).toString('hex').slice(0, 3);
    serviceBits.set(service, bits);
  }
  return bits;
}

/** Makes version 7 ids for one sidecar instance; two instances never make the same id unless they drew the same tag. */
export class CallIds {
  readonly #tag: number;
  #counter = randomInt(1 << COUNTER_BITS);
  #entropy = randomBytes(3 * 256);
  #used = 0;

  constructor(tag: InstanceTag) {
    this.#tag = Number.parseInt(tag, 16);
  }

  /** @param now ms since the epoch */
  next(service: string, now: number = Date.now()): string {
    const time = now.toString(16).padStart(12, '0');
    this.#counter = (this.#counter + 1) & ((1 << COUNTER_BITS) - 1);
    if (this.#used === this.#entropy.length) {
      this.#entropy = randomBytes(this.#entropy.length);
      this.#used = 0;
    }
    const random = this.#entropy.readUIntBE(this.#used, 3);
    this.#used += 3;
    // 62 bits: tag(20) counter(18) random(24), cut where the dashes fall: 14 + 48.
    const high = this.#tag >>> 6;
    const low = (this.#tag & 63) * 2 ** 42 + this.#counter * 2 ** 24 + random;
    const variant = (0x8000 | high).toString(16);
    return `${time.slice(0, 8)}-${time.slice(8)}-7${serviceHint(service)}-${variant}-${low.toString(16).padStart(12, '0')}`;
  }
}

/** What makes two keyed requests the same call. `path` is the request target without its query. */
export interface KeyScope {
  readonly caller: string;
  readonly service: string;
  readonly method: string;
  readonly path: string;
  readonly key: string;
}

/** The version 8 id of the call that owns this key. */
export function keyedCallId(scope: KeyScope): string {
  return derivedId(scope.service, digest(scope.caller, scope.service, scope.method, scope.path, scope.key));
}

/**
 * The id of the callback that tells `service` how a round of its call ended. Whoever ends the round computes the same one; a real
 * answer that comes after Holdline's own outcome of that round is another piece of news.
 */
export function callbackId(service: string, callId: string, round: number, outcome: string): string {
  return derivedId(service, digest('callback', callId, String(round), outcome));
}

/**
 * The id of the delivery of an event to a subscription: the same each time, so that what is known of an earlier delivery
 * is found.
 */
export function deliveryId(event: string, service: string, subscription: string): string {
  return derivedId(service, digest('delivery', event, service, subscription));
}

/** The id of the broadcast event that tells a round of a call of `service`; see {@link callbackId}. */
export function callFeedId(service: string, callId: string, round: number, outcome: string): string {
  return derivedId(service, digest('call', callId, String(round), outcome));
}

function derivedId(service: string, from: Buffer): string {
  const hex = from.toString('hex');
  const variant = (0x8 | (Number.parseInt(hex[12]!, 16) & 0x3)).toString(16);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${serviceHint(service)}-${variant}${hex.slice(13, 16)}-${hex.slice(16, 28)}`;
}

/**
 * A new version 8 id for a call whose key is its content. It cannot be computed from the content, because the same content
 * may be sent twice on purpose; the broker remembers which id a content stands for.
 */
export function contentCallId(service: string): string {
  return keyedCallId({ caller: '', service, method: '', path: '', key: randomUUID() });
}

/** What makes two requests the same call where their content is their key. */
export interface ContentScope {
  readonly caller: string;
  readonly service: string;
  /** The host that the caller addressed. */
  readonly host: string;
  readonly method: string;
  /** See {@link fingerprint}. */
  readonly fingerprint: string;
  /** On whose behalf: the same words of two users are two requests, and neither may get the other's answer. */
  readonly credentials: readonly string[];
}

/** The key that a request's own content makes: 43 characters, letters, digits, `-` and `_`. */
export function contentKey({ caller, service, host, method, fingerprint: print, credentials }: ContentScope): string {
  return digest(caller, service, host.toLowerCase(), method, print, ...credentials).toString('base64url');
}

/** Digest of what "the same request" means under one key: target, content type and body (contract section 4). */
export function fingerprint(target: string, contentType: string, body: Uint8Array): string {
  return beginFingerprint(target, contentType).update(body).digest('base64url');
}

/** The beginning of a {@link fingerprint} for a body that comes in parts: update it with them, digest it in `base64url`. */
export function beginFingerprint(target: string, contentType: string): Hash {
  const hash = createHash('sha256');
  hash.update(`${Buffer.byteLength(target)}:`).update(target);
  return hash.update(`${Buffer.byteLength(contentType)}:`).update(contentType);
}

const CALL_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-[78][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

export function isCallId(text: string): boolean {
  return CALL_ID.test(text);
}

/** What an id says of itself. `instance` is absent for keyed ids, which belong to no instance. */
export function readCallId(id: string): { keyed: boolean; hint: string; instance?: InstanceTag } {
  const keyed = id[14] === '8';
  const hint = id.slice(15, 18);
  if (keyed) return { keyed, hint };
  const high = Number.parseInt(id.slice(19, 23), 16) & 0x3fff;
  const low = Number.parseInt(id.slice(24, 26), 16) >>> 2;
  return { keyed, hint, instance: ((high << 6) | low).toString(16).padStart(5, '0') };
}
