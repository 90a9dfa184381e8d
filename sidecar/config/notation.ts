/**
 * A kind of value that is one piece of text in the file: how people write it, how it is read, how it is written back.
 *
 * `parse(format(value))` gives the value back, and `format(parse(text))` is the shortest way to write the same.
 */
export interface Notation<T> {
  /** With its article: `a duration`. */
  readonly what: string;
  /** What may be written, as the end of "expected …". */
  readonly allowed: string;
  /** The same as a regular expression for editors. `parse` is stricter where an expression cannot tell. */
  readonly pattern: RegExp;
  /** @throws {NotationError} */
  parse(text: string): T;
  format(value: T): string;
}

/** The text is not what it should be; the message says what it is and what is allowed. */
export class NotationError extends Error {
  override readonly name = 'NotationError';
}

/** The error for text that does not fit `notation` at all. */
export function malformed(text: string, notation: Pick<Notation<unknown>, 'what' | 'allowed'>): NotationError {
  return new NotationError(`${quote(text)} is not ${notation.what}; expected ${notation.allowed}`);
}

/** Text as it may be shown in an error: what could be a password in a URL is not repeated. */
export function quote(text: string): string {
  return `"${text.replace(/\/\/.*@/s, '//***@')}"`;
}
