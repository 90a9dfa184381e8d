import { setTimeout as pause } from 'node:timers/promises';
import { runHoldline } from '../support/command-line.ts';
import { type Door, lookUp } from './exchange.ts';
import { type HistoryEvent, readHistory, record } from './history.ts';
import type { System } from './system.ts';

/** Without a change for this long nothing will change any more, ms. Longer than any lease of a sidecar that was killed. */
const standstill = 75_000;
/** More entries than any run makes. */
const all = String(1_000_000);

/** The service of the callers: calls of others are callbacks, which no caller can ask for. */
const publisher = 'orders';

interface CallEntry {
  readonly id: string;
  readonly caller: string;
  readonly state: string;
  readonly acceptedAt: string;
}

interface LetterEntry {
  readonly id: string;
  readonly caller: string;
  readonly service: string;
  readonly reason: string;
  readonly diedAt: string;
  /** Of a subscription only. */
  readonly subscription: string | null;
  readonly event: string | null;
}

interface SubscriptionEntry {
  readonly service: string;
  readonly name: string;
  readonly state: string;
  readonly waiting: number;
}

/**
 * Waits until the healed system has nothing left to do, then records what it says of every call: its answer through
 * each of the callers' sidecars, its state on the list of calls, its dead letter; and of every subscription.
 */
export async function settle(system: System, say: (text: string) => void): Promise<void> {
  await system.well();
  await quiet(system, say);
  if (await replay(system, say)) await quiet(system, say);
  const known = new Set(callIds(readHistory(...system.histories())));
  const [letters, listed, subscribed] = await Promise.all([deadLetters(system), calls(system), subscriptions(system)]);
  for (const { id } of [...letters.filter(isOfCall), ...listed.filter(isOfCaller)]) known.add(id);
  say(`looking up ${known.size} calls`);
  await lookUpAll(system, [...known]);
  const at = Date.now();
  record(
    system.file,
    ...letters.map(letter),
    ...subscribed.map(({ service, name, state, waiting }): HistoryEvent => {
      return { type: 'subscribed', at, subscription: `${service}/${name}`, state, waiting };
    }),
    ...listed.map(({ id, state, acceptedAt }): HistoryEvent => ({
      type: 'listed',
      at,
      call: id,
      state,
      acceptedAt: Date.parse(acceptedAt),
    })),
  );
}

/**
 * Carries every dead letter out after all, as an operator does once the trouble is over.
 * @returns whether there were any
 */
async function replay(system: System, say: (text: string) => void): Promise<boolean> {
  const letters = await deadLetters(system);
  if (letters.length === 0) return false;
  const ofCalls = letters.filter(isOfCall).map(({ id }) => id);
  await lookUpAll(system, ofCalls);
  record(system.file, ...letters.map(letter));
  const at = Date.now();
  const { replayed } = (await tell(system, ['dead-letters', 'replay', '--all'])) as { replayed: string[] };
  const replayedOf = (id: string): HistoryEvent =>
    ofCalls.includes(id) ? { type: 'replayed', at, call: id } : { type: 'redelivered', at, delivery: id };
  record(system.file, ...replayed.map(replayedOf));
  say(`${replayed.length} of ${letters.length} dead letters replayed`);
  return true;
}

function letter(entry: LetterEntry): HistoryEvent {
  const { id, reason, service, subscription, event, diedAt } = entry;
  const at = Date.now();
  if (isOfCall(entry)) return { type: 'letter', at, call: id, reason };
  const to = subscription === null ? 'callback' : `${service}/${subscription}`;
  const of = event === null ? {} : { event };
  return { type: 'undelivered', at, delivery: id, to, reason, died: Date.parse(diedAt), ...of };
}

function isOfCaller({ caller }: { readonly caller: string }): boolean {
  return caller === publisher;
}

/** Of a call that a caller made, neither of a subscription nor of a callback. */
function isOfCall(entry: LetterEntry): boolean {
  return isOfCaller(entry) && entry.subscription === null;
}

/**
 * Resolves when callers are done, no call is open and no event waits for a subscription, or when nothing moves any more,
 * which the checker will judge.
 */
async function quiet(system: System, say: (text: string) => void): Promise<void> {
  let last = '';
  let lastChange = Date.now();
  for (;;) {
    const open = (await calls(system)).filter(({ state }) => state === 'waiting' || state === 'attempting').length;
    const busy = system.callers.filter(({ done }) => !done).length;
    // Asked only when it matters: each question is a process.
    const behind = open === 0 && busy === 0 ? await backlog(system) : undefined;
    if (behind === 0) return;
    const progress = progressOf(readHistory(...system.histories()));
    const waiting = behind === undefined ? '' : `, ${behind} deliveries waiting`;
    const now = `${open} calls open, ${busy} callers busy${waiting}, ${progress} attempts, answers and deliveries`;
    if (now !== last) {
      last = now;
      lastChange = Date.now();
      say(now);
    } else if (Date.now() - lastChange > standstill) {
      say(`nothing has changed for ${standstill / 1000} s`);
      return;
    }
    await pause(1_500);
  }
}

/** A caller that asks again and again is no progress, nor is a delivery that is made again and again. */
function progressOf(history: readonly HistoryEvent[]): number {
  const deliveries = new Set<string>();
  let others = 0;
  for (const event of history) {
    if (event.type === 'answered' || event.type === 'attempted') others++;
    else if ('delivery' in event && 'taken' in event && event.taken) deliveries.add(event.delivery);
  }
  return others + deliveries.size;
}

async function backlog(system: System): Promise<number> {
  return (await subscriptions(system)).reduce((sum, { waiting }) => sum + waiting, 0);
}

async function lookUpAll(system: System, ids: readonly string[]): Promise<void> {
  const queue = system.doors.flatMap((door) => ids.map((id) => ({ id, door })));
  const worker = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) await lookUpOne(system, next.id, next.door);
  };
  await Promise.all(Array.from({ length: 8 }, worker));
}

async function lookUpOne(system: System, call: string, door: Door): Promise<void> {
  for (let tries = 1; tries <= 5; tries++) {
    const asked = Date.now();
    const result = await lookUp(call, door);
    const at = Date.now();
    if (result.kind === 'answered') {
      record(system.file, { type: 'answered', at, asked, via: door.name, call, ...result.answer });
      return;
    }
    if (result.kind === 'missing') {
      record(system.file, { type: 'missing', at, via: door.name, call });
      return;
    }
    if (result.kind === 'accepted') return;
    await pause(500);
  }
}

function callIds(history: readonly HistoryEvent[]): string[] {
  const ids: string[] = [];
  for (const event of history) {
    if (event.type === 'accepted' || event.type === 'answered' || event.type === 'attempted') ids.push(event.call);
  }
  return ids;
}

async function calls(system: System): Promise<readonly CallEntry[]> {
  return ((await tell(system, ['calls', 'list', '--limit', all])) as { calls: CallEntry[] }).calls;
}

async function deadLetters(system: System): Promise<readonly LetterEntry[]> {
  return ((await tell(system, ['dead-letters', 'list', '--limit', all])) as { deadLetters: LetterEntry[] }).deadLetters;
}

async function subscriptions(system: System): Promise<readonly SubscriptionEntry[]> {
  return ((await tell(system, ['subscriptions', 'list'])) as { subscriptions: SubscriptionEntry[] }).subscriptions;
}

async function tell(system: System, command: readonly string[]): Promise<unknown> {
  const args = [...command, '--broker', system.broker.url, '--json'];
  for (let tries = 1; ; tries++) {
    const { exitCode, stdout, stderr } = await runHoldline(args);
    if (exitCode === 0) return JSON.parse(stdout);
    if (tries === 5) throw new Error(`holdline ${args.join(' ')} failed with ${exitCode}: ${stderr}`);
    await pause(1_000);
  }
}
