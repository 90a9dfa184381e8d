import { BrokerUnavailable, type BodyPlace, type BodyStore } from '../broker/port.ts';
import { arrivingBody, BodyTooLarge } from '../http/body.ts';
import { beginFingerprint } from '../model/call-id.ts';
import type { BodyRef } from '../model/call.ts';
import type { Alarms } from './alarms.ts';
import type { Exchange } from './exchange.ts';

/** How storing a large request body ended. In all but the first nothing is kept of it. */
export type Uploaded =
  | { readonly kind: 'stored'; readonly ref: BodyRef; readonly fingerprint: string }
  | { readonly kind: 'too-large' }
  /** The caller went away, was answered otherwise, or sent what is no HTTP. */
  | { readonly kind: 'gone' }
  /** Nothing came for too long. */
  | { readonly kind: 'stalled' }
  | { readonly kind: 'refused'; readonly error: BrokerUnavailable };

export interface UploadOptions {
  readonly bodies: BodyStore;
  readonly alarms: Alarms;
  /** Bytes of the whole body. */
  readonly limit: number;
  /** A caller that sends nothing for this long is given up, ms. */
  readonly stallLimit: number;
}

class Stalled extends Error {
  override readonly name = 'Stalled';
}

class Gone extends Error {
  override readonly name = 'Gone';
}

/**
 * Stores a request's body on the broker while it arrives: a caller that is faster than the broker is made to wait. What
 * was stored of a body that does not become whole is removed.
 * @param before what was read of it already
 */
export async function upload(
  exchange: Exchange,
  place: BodyPlace,
  before: readonly Buffer[],
  { bodies, alarms, limit, stallLimit }: UploadOptions,
): Promise<Uploaded> {
  const { req, res, facts, address } = exchange;
  const fingerprint = beginFingerprint(address.target, facts.contentType);
  const stop = new AbortController();
  const gone = () => stop.abort(new Gone('the caller went away'));
  res.once('close', gone);
  /** Since when a part of the body is waited for; the time that the broker takes is not the caller's. */
  let waitingSince = performance.now();
  const watch = () => {
    const left = waitingSince + stallLimit - performance.now();
    if (left > 0) alarm = alarms.set(Math.min(left, stallLimit), watch);
    else stop.abort(new Stalled('the request body stopped arriving'));
  };
  let alarm = alarms.set(stallLimit, watch);
  async function* arriving(): AsyncGenerator<Buffer, void, undefined> {
    for await (const part of arrivingBody(req, before, limit)) {
      if (exchange.over) throw new Gone('the caller is answered already');
      fingerprint.update(part);
      waitingSince = Number.POSITIVE_INFINITY;
      yield part;
      waitingSince = performance.now();
    }
  }
  try {
    const ref = await bodies.write(place, arriving(), stop.signal);
    return { kind: 'stored', ref, fingerprint: fingerprint.digest('base64url') };
  } catch (error) {
    if (error instanceof BodyTooLarge) return { kind: 'too-large' };
    if (error instanceof BrokerUnavailable) return { kind: 'refused', error };
    if (error instanceof Stalled) return { kind: 'stalled' };
    if (error instanceof Gone || req.destroyed || req.errored !== null) return { kind: 'gone' };
    throw error;
  } finally {
    alarm.cancel();
    res.off('close', gone);
  }
}
