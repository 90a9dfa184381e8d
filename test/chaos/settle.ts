import { setTimeout as pause } from 'node:timers/promises';
import { runHoldline } from '../support/command-line.ts';
import { type Door, lookUp } from './exchange.ts';
import { type HistoryEvent, readHistory, record } from './history.ts';
import type { System } from './system.ts';

/** Without a change for this long nothing will change any more, ms. Longer than any lease of a sidecar that was killed. */
const standstill = 75_000;
/** More entries than any run makes. */
const all = String(1_000_000);

interface CallEntry {
  readonly id: string;
  readonly state: string;
  readonly acceptedAt: string;
}

interface LetterEntry {
  readonly id: string;
  readonly reason: string;
}

/**
 * Waits until the healed system has nothing left to do, then records what it says of every call: its answer through
 * each of the callers' sidecars, its state on the list of calls, its dead letter.
 */
export async function settle(system: System, say: (text: string) => void): Promise<void> {
  await system.well();
  await quiet(system, say);
  await replay(system, say);
  await quiet(system, say);
  const known = new Set(callIds(readHistory(...system.histories())));
  const letters = await deadLetters(system);
  const listed = await calls(system);
  for (const { id } of [...letters, ...listed]) known.add(id);
  say(`looking up ${known.size} calls`);
  await lookUpAll(system, [...known]);
  const at = Date.now();
  record(
    system.file,
    ...letters.map(({ id, reason }) => letter(id, reason)),
    ...listed.map(({ id, state, acceptedAt }): HistoryEvent => ({
      type: 'listed',
      at,
      call: id,
      state,
      acceptedAt: Date.parse(acceptedAt),
    })),
  );
}

/** Carries every dead letter out after all, as an operator does once the trouble is over. */
async function replay(system: System, say: (text: string) => void): Promise<void> {
  const letters = await deadLetters(system);
  await lookUpAll(
    system,
    letters.map(({ id }) => id),
  );
  record(system.file, ...letters.map(({ id, reason }) => letter(id, reason)));
  const at = Date.now();
  const { replayed } = (await tell(system, ['dead-letters', 'replay', '--all'])) as { replayed: string[] };
  record(system.file, ...replayed.map((call): HistoryEvent => ({ type: 'replayed', at, call })));
  say(`${replayed.length} of ${letters.length} dead letters replayed`);
}

function letter(call: string, reason: string): HistoryEvent {
  return { type: 'letter', at: Date.now(), call, reason };
}

/** Resolves when callers are done and no call is open, or when nothing moves any more, which the checker will judge. */
async function quiet(system: System, say: (text: string) => void): Promise<void> {
  let last = '';
  let lastChange = Date.now();
  for (;;) {
    const open = (await calls(system)).filter(({ state }) => state === 'waiting' || state === 'attempting').length;
    const busy = system.callers.filter(({ done }) => !done).length;
    if (open === 0 && busy === 0) return;
    const history = readHistory(...system.histories());
    // A caller that asks again and again is no progress.
    const progress = history.filter(({ type }) => type === 'answered' || type === 'attempted').length;
    const now = `${open} calls open, ${busy} callers busy, ${progress} attempts and answers`;
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

async function tell(system: System, command: readonly string[]): Promise<unknown> {
  const args = [...command, '--broker', system.broker.url, '--json'];
  for (let tries = 1; ; tries++) {
    const { exitCode, stdout, stderr } = await runHoldline(args);
    if (exitCode === 0) return JSON.parse(stdout);
    if (tries === 5) throw new Error(`holdline ${args.join(' ')} failed with ${exitCode}: ${stderr}`);
    await pause(1_000);
  }
}
