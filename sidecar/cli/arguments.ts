import { InvalidArgumentError, Option, type Command } from 'commander';
import { NotationError } from '../config/notation.ts';
import { duration, rate } from '../config/units.ts';

/** How many entries a list shows without `--limit`. */
const defaultLimit = 50;

/** A count of at least one. @throws {InvalidArgumentError} */
export function parseCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(count) || count === 0) {
    throw new InvalidArgumentError('expected a whole number, 1 or more.');
  }
  return count;
}

/** `15m`, `1h`: as durations in the configuration, in ms. @throws {InvalidArgumentError} */
export function parseDuration(text: string): number {
  try {
    return duration.parse(text);
  } catch (error) {
    if (error instanceof NotationError) throw new InvalidArgumentError(`${error.message}.`);
    throw error;
  }
}

/** `10/s`, `30/m`: as rates in the configuration. @throws {InvalidArgumentError} */
export function parseRate(text: string): { readonly count: number; readonly perMs: number } {
  try {
    return rate.parse(text);
  } catch (error) {
    if (error instanceof NotationError) throw new InvalidArgumentError(`${error.message}.`);
    throw error;
  }
}

/** Adds `--json` and `--limit`. */
export function withListOptions(command: Command): Command {
  return withJson(command).addOption(
    new Option('--limit <n>', 'show so many, newest first').argParser(parseCount).default(defaultLimit),
  );
}

/** Adds `--json`. */
export function withJson(command: Command): Command {
  return command.option('--json', 'print JSON');
}
