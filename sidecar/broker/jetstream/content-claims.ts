import { isCallId } from '../../model/call-id.ts';
import { BrokerUnavailable, type ContentClaim } from '../port.ts';
import type { Context } from './context.ts';
import { recordHeaders } from './envelope.ts';
import type { Stored } from './lookup.ts';
import { findAction } from './order-queue.ts';
import type { Publication } from './publisher.ts';

/** How often a claim that keeps changing under us is looked up again before the caller is told 503. */
const RACES = 20;
const VERSION = 1;

/** The stored claim: `id` is the call that a content key stands for. */
interface Claim {
  readonly id: string;
  /** When it was claimed, or confirmed last, ms since the epoch. */
  readonly at: number;
}

/**
 * Finds out, and where it may decides, which call a content key stands for: one small message under the literal subject
 * of the key, replaced only by who knows the one before (expected last sequence), so that of many one wins.
 * @throws {BrokerUnavailable}
 */
export async function claimContent(context: Context, caller: string, wanted: ContentClaim): Promise<string> {
  const { subjects, lookup, publisher } = context;
  const { key, id, instead } = wanted;
  const stream = subjects.keyedStream(caller);
  const subject = subjects.content(caller, key);
  // Most contents are new, so the first look is left out where nothing is known of the key.
  let before = instead === undefined ? undefined : await lookup.last(stream, subject);
  for (let race = 0; race < RACES; race++) {
    const current = before && claimOf(context, before);
    if (before !== undefined && current !== undefined && current.id !== instead) {
      await confirm(context, caller, wanted, before, current);
      return current.id;
    }
    const ack = await publisher.publish(publication(context, caller, subject, id, before?.seq ?? 0));
    if (ack.kind === 'stored') return id;
    before = await lookup.last(stream, subject);
  }
  throw new BrokerUnavailable('the call that this content stands for keeps changing');
}

/**
 * A claim that is about to expire while its call is open is stored anew: a service that is down for long must not make
 * a retry a second call. Only while it is open, so that a claim never outlives the answer of its call: the id would
 * be used a second time.
 */
async function confirm(
  context: Context,
  caller: string,
  { key, service }: ContentClaim,
  stored: Stored,
  { id, at }: Claim,
): Promise<void> {
  const { config, subjects, publisher } = context;
  if (Date.now() - at < config.retention.keyed / 2) return;
  if ((await findAction(context, { callee: service, caller, id })) === undefined) return;
  // Refused: somebody else has just done the same.
  await publisher.publish(publication(context, caller, subjects.content(caller, key), id, stored.seq));
}

function publication(context: Context, caller: string, subject: string, id: string, expected: number): Publication {
  const { streams } = context;
  return {
    subject,
    payload: Buffer.from(JSON.stringify({ v: VERSION, id, at: Date.now() })),
    headers: recordHeaders(expected),
    patience: 'now',
    ensureStream: async () => void (await streams.ensure(streams.keyed(caller))),
  };
}

/** Undefined where it cannot be read: then it stands for nothing, and is replaced. */
function claimOf(context: Context, { subject, data }: Stored): Claim | undefined {
  try {
    const { v, id, at } = JSON.parse(Buffer.from(data).toString()) as Record<string, unknown>;
    if (v === VERSION && typeof id === 'string' && isCallId(id) && typeof at === 'number') return { id, at };
    throw new Error('not a claim of a version that this program reads');
  } catch (cause) {
    context.report(new Error(`${subject} cannot be read: ${(cause as Error).message}`, { cause }));
    return undefined;
  }
}
