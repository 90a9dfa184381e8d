import { distance } from 'fastest-levenshtein';
import * as z from 'zod';
import { NotationError, quote } from './notation.ts';
import type { Notation } from './notation.ts';

/** What the JSON Schema carries beyond the standard: editors ignore it, the documentation shows it. */
interface KeyNotes {
  /** For people, as Markdown. */
  description: string;
  /** Why the default is what it is; where there is none, what holds without the key. */
  reason?: string;
}

/**
 * A key with its meaning and the reason for its default (where it has none: what holds without it). Both go into the
 * JSON Schema and the documentation.
 */
export function key<S extends z.ZodType>(schema: S, description: string, reason?: string): S {
  const notes: KeyNotes = { description, ...(reason !== undefined && { reason }) };
  return schema.meta({ ...notes });
}

/** A mapping with exactly these keys. */
export function mapping<S extends z.ZodRawShape>(shape: S) {
  return z.strictObject(shape);
}

/** One piece of text that `notation` reads. */
export function written<T>(notation: Notation<T>) {
  return z
    .string({ error: ({ input }) => unfit(input, `${notation.what}: ${notation.allowed}`) })
    .transform((text, context) => {
      try {
        return notation.parse(text);
      } catch (error) {
        if (!(error instanceof NotationError)) throw error;
        context.addIssue({ code: 'custom', message: error.message, input: text });
        return z.NEVER;
      }
    })
    .meta({ title: notation.what.replace(/^an? /, ''), pattern: notation.pattern.source });
}

/** Text that fits an expression as it is. */
export function name(what: string, pattern: RegExp, allowed: string) {
  return written<string>({
    what,
    allowed,
    pattern,
    parse(text) {
      if (!pattern.test(text)) throw new NotationError(`${quote(text)} is not ${what}; expected ${allowed}`);
      return text;
    },
    format: (value) => value,
  });
}

/** Text that no error may repeat. */
export function secretText(check: (text: string) => string | undefined = () => undefined) {
  const allowed = 'text that is not empty';
  return z
    .string({ error: ({ input }) => unfitSecret(input, allowed) })
    .superRefine((text, context) => {
      const problem = text === '' ? `is empty; expected ${allowed}` : check(text);
      if (problem !== undefined) context.addIssue({ code: 'custom', message: problem });
    })
    .meta({ title: 'secret' });
}

/** As {@link unfit}, for what no error may repeat. */
export function unfitSecret(input: unknown, allowed: string): string {
  return typeof input === 'number' ? 'is a number; put quotes around it to make it text' : unfit(input, allowed, true);
}

export function wholeNumber(min: number, max?: number) {
  const allowed = max === undefined ? `a whole number, ${min} or more` : `a whole number from ${min} to ${max}`;
  const error = ({ input }: { input?: unknown }) => unfit(input, allowed);
  const schema = z.int({ error }).min(min, { error });
  return max === undefined ? schema : schema.max(max, { error });
}

export function choice<const V extends readonly [string | number, ...(string | number)[]]>(values: V) {
  const allowed = values.length === 1 ? `${values[0]}` : `one of ${values.join(', ')}`;
  return z.literal(values as readonly V[number][], {
    error: ({ input }) => unfit(input, allowed) + suggestion(input, values.map(String)),
  });
}

export function yesOrNo() {
  return z.boolean({ error: ({ input }) => unfit(input, 'true or false') });
}

export function list<S extends z.ZodType>(item: S, what: string) {
  return z.array(item, { error: ({ input }) => unfit(input, `a list of ${what}`) });
}

/** One value, or a list of them that is not empty; always read as a list. */
export function oneOrMore<S extends z.ZodType>(item: S, title: string, what: string, misfit = unfit) {
  return z
    .union([item, z.array(item).min(1, { error: () => `is an empty list; expected ${what}` })], {
      error: ({ input }) => misfit(input, what),
    })
    .transform((value): z.output<S>[] => (Array.isArray(value) ? value : [value]))
    .meta({ title });
}

/** What is wrong with a value of a wrong kind, and what is allowed. */
export function unfit(input: unknown, allowed: string, secret = false): string {
  if (input === undefined) return `is missing; expected ${allowed}`;
  if (input === null) return `has no value; expected ${allowed}`;
  return `${secret ? 'this value' : show(input)} is not allowed here; expected ${allowed}`;
}

function show(input: unknown): string {
  if (Array.isArray(input)) return 'a list';
  switch (typeof input) {
    case 'string':
      return quote(input);
    case 'number':
    case 'boolean':
      return `the ${typeof input} ${input}`;
    default:
      return 'a mapping';
  }
}

/** `; did you mean …?` where one of `candidates` is near enough to be a slip of the pen, else nothing. */
export function suggestion(input: unknown, candidates: readonly string[]): string {
  if (typeof input !== 'string' || candidates.length === 0) return '';
  const lowered = input.toLowerCase();
  const [nearest] = candidates
    .map((meant) => ({ meant, slips: slipsBetween(lowered, meant.toLowerCase()) }))
    .toSorted((a, b) => a.slips - b.slips);
  const { meant, slips } = nearest!;
  // A short word is near to too many others.
  const allowed = meant.length <= 3 ? 1 : Math.max(2, Math.floor(meant.length / 3));
  return slips <= allowed || lowered.startsWith(meant.toLowerCase()) ? `; did you mean ${meant}?` : '';
}

/** Edits from one word to the other, where two neighbours that changed places are one of them: `hodl` is nearer to `hold` than to `mode`. */
function slipsBetween(text: string, meant: string): number {
  const swapped = Array.from(text.slice(1), (letter, i) => text.slice(0, i) + letter + text[i] + text.slice(i + 2));
  return Math.min(distance(text, meant), ...swapped.map((other) => 1 + distance(other, meant)));
}
