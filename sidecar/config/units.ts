import { malformed, NotationError, quote } from './notation.ts';
import type { Notation } from './notation.ts';

const day = 86_400_000;

/** Largest first: `format` takes the first one that divides the value and is in use: people say 24h and 60s. */
const timeUnits = [
  ['d', day, 2 * day],
  ['h', 3_600_000],
  ['m', 60_000, 120_000],
  ['s', 1000],
  ['ms', 1],
] as const;

/** Powers of 1024, as in nginx and nats-server: limits are compared with buffers, which come in such sizes. */
const sizeUnits = [
  ['GB', 1024 ** 3],
  ['MB', 1024 ** 2],
  ['KB', 1024],
  ['B', 1],
] as const;

type Units = readonly (readonly [name: string, value: number, inUseFrom?: number])[];

function readQuantity(text: string, units: Units, self: Pick<Notation<unknown>, 'what' | 'allowed'>): number {
  const [, digits, name] = /^(\d+) ?([A-Za-z]+)$/.exec(text) ?? [];
  const factor = units.find(([unit]) => unit === name)?.[1];
  if (digits === undefined || factor === undefined) throw malformed(text, self);
  return Number(digits) * factor;
}

function writeQuantity(value: number, units: Units): string {
  const [name, factor] = units.find(([, unit, from = unit]) => value % unit === 0 && value >= from) ?? units.at(-1)!;
  return `${value / factor}${name}`;
}

function durationUpTo(limit: number, reason: string): Notation<number> {
  const self: Notation<number> = {
    what: 'a duration',
    allowed: 'a whole number with ms, s, m, h or d, such as 250ms, 30s or 24h',
    pattern: /^\d+ ?(ms|s|m|h|d)$/,
    parse(text) {
      const value = readQuantity(text, timeUnits, self);
      if (value === 0) throw new NotationError(`${quote(text)} is no time at all; expected at least 1ms`);
      if (value > limit) {
        throw new NotationError(`${quote(text)} is too long; at most ${self.format(limit)} is allowed, ${reason}`);
      }
      return value;
    },
    format: (value) => writeQuantity(value, timeUnits),
  };
  return self;
}

/** Milliseconds on the wall clock: how long something is kept or stays valid. */
export const duration = durationUpTo(3650 * day, 'more is surely a slip');

/** Milliseconds that a running timer waits. */
export const wait = durationUpTo(24 * day, 'as timers end at 2^31 ms');

/** Bytes. */
export const size: Notation<number> = {
  what: 'a size',
  allowed: 'a whole number with B, KB, MB or GB (powers of 1024), such as 512KB or 32MB',
  pattern: /^\d+ ?(B|KB|MB|GB)$/,
  parse(text) {
    const value = readQuantity(text, sizeUnits, size);
    if (value === 0) throw new NotationError(`${quote(text)} leaves no room at all; expected at least 1B`);
    if (!Number.isSafeInteger(value)) throw new NotationError(`${quote(text)} is more than any machine has`);
    return value;
  },
  format: (value) => writeQuantity(value, sizeUnits),
};

/** Shortest and longest pause, ms: `200ms..60s`. */
export const durationRange: Notation<{ min: number; max: number }> = {
  what: 'a range of durations',
  allowed: 'the shortest and the longest pause, such as 200ms..60s',
  pattern: /^\d+ ?(ms|s|m|h|d) ?\.\. ?\d+ ?(ms|s|m|h|d)$/,
  parse(text) {
    const [shortest, longest, ...rest] = text.split('..').map((part) => part.trim());
    if (!shortest || !longest || rest.length > 0) throw malformed(text, durationRange);
    const [min, max] = [wait.parse(shortest), wait.parse(longest)];
    if (min > max) {
      throw new NotationError(
        `${quote(text)} starts above its end; expected the shorter one first: ${longest}..${shortest}`,
      );
    }
    return { min, max };
  },
  format: ({ min, max }) => `${wait.format(min)}..${wait.format(max)}`,
};

const rateUnits = [
  ['s', 1000],
  ['m', 60_000],
  ['h', 3_600_000],
] as const;

/** So many in so many ms: `200/s`. */
export const rate: Notation<{ count: number; perMs: number }> = {
  what: 'a rate',
  allowed: 'a whole number per s, m or h, such as 200/s or 30/m',
  pattern: /^[1-9]\d* ?\/ ?(s|m|h)$/,
  parse(text) {
    const [, digits, name] = /^([1-9]\d*) ?\/ ?(s|m|h)$/.exec(text) ?? [];
    const perMs = rateUnits.find(([unit]) => unit === name)?.[1];
    const count = Number(digits);
    if (perMs === undefined || !Number.isSafeInteger(count)) throw malformed(text, rate);
    return { count, perMs };
  },
  format: ({ count, perMs }) => `${count}/${rateUnits.find(([, ms]) => ms === perMs)?.[0] ?? `${perMs}ms`}`,
};
