import { BrokerUnavailable } from '../port.ts';

/** The file cannot be used as Holdline's log; only a person can help. */
export class DatabaseRefused extends Error {
  override readonly name = 'DatabaseRefused';
}

/** A newer Holdline has changed the tables while this one had them open: whatever it wrote now could be wrong. */
export class DatabaseOutgrown extends Error {
  override readonly name = 'DatabaseOutgrown';
  constructor(version: number) {
    super(`the tables have version ${version} now, made by a newer Holdline; this process must be replaced by it`);
  }
}

/** What a failure of SQLite means for the one who asked (https://www.sqlite.org/rescode.html, primary codes). */
export type Failure = 'busy' | 'full' | 'not-a-database' | 'corrupt' | 'disk' | 'outgrown' | 'other';

const primaryCodes: Readonly<Record<number, Failure>> = {
  5: 'busy',
  6: 'busy',
  8: 'disk',
  10: 'disk',
  11: 'corrupt',
  13: 'full',
  14: 'disk',
  26: 'not-a-database',
};

/** Classifies anything that was thrown by `node:sqlite`; what did not come from there is `other`. */
export function failureOf(error: unknown): Failure {
  if (error instanceof DatabaseOutgrown) return 'outgrown';
  if (!(error instanceof Error) || !('errcode' in error) || typeof error.errcode !== 'number') return 'other';
  return primaryCodes[error.errcode & 0xff] ?? 'other';
}

/** The refusal that a caller gets, with the reason in words. */
export function unavailable(file: string, error: unknown): BrokerUnavailable {
  const message = error instanceof Error ? error.message : String(error);
  switch (failureOf(error)) {
    case 'full':
      return new BrokerUnavailable(`the database ${file} is full, or its disk is: ${message}`, { retryAfter: 5000 });
    case 'busy':
      return new BrokerUnavailable(`the database ${file} is locked by another process: ${message}`);
    default:
      return new BrokerUnavailable(`the database ${file} failed: ${message}`);
  }
}
