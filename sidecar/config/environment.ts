import { Lexer } from 'yaml';

/** Text with its variables replaced, and the way back to where each piece of it was written. */
export interface Substituted {
  readonly text: string;
  /** What is wrong with the references, at offsets of `text`. */
  readonly problems: readonly { readonly offset: number; readonly message: string }[];
  /** The place in the original that an offset of `text` comes from. */
  original(offset: number): number;
  /** Whether this part of `text` stands for a variable that could not be replaced, so that its value means nothing. */
  isUnknown(start: number, end: number): boolean;
}

interface Piece {
  /** Where it stands in the new text. */
  readonly start: number;
  readonly end: number;
  /** Where it was written. */
  readonly from: number;
  readonly unknown: boolean;
}

/** Stands for what could not be replaced, so that the rest of the file is checked all the same. */
const unknownValue = 'unknown';

/**
 * Replaces `${VAR}` and `${VAR:-default}` (the default also where the variable is empty, as in a shell) everywhere but in
 * comments. `$${` is written for `${` itself. Replaced text is not looked at again.
 */
export function substitute(source: string, env: NodeJS.ProcessEnv): Substituted {
  const comments = commentRanges(source);
  const pieces: Piece[] = [];
  const problems: { offset: number; message: string }[] = [];
  let text = '';
  let copied = 0;
  const replace = (from: number, to: number, value: string, unknown = false) => {
    text += source.slice(copied, from);
    pieces.push({ start: text.length, end: text.length + value.length, from, unknown });
    text += value;
    copied = to;
    pieces.push({ start: text.length, end: Infinity, from: to, unknown: false });
  };

  for (const match of source.matchAll(/\$?\$\{([^}\n]*)(\}?)/g)) {
    const from = match.index;
    const to = from + match[0].length;
    if (comments.some(([start, end]) => from >= start && from < end)) continue;
    if (match[0].startsWith('$$')) {
      replace(from, from + 1, '');
      continue;
    }
    const result = match[2] === '' ? { problem: 'the closing } is missing' } : valueOf(match[1]!, env);
    if ('value' in result) {
      replace(from, to, result.value);
    } else {
      problems.push({ offset: text.length + from - copied, message: result.problem });
      replace(from, to, unknownValue, true);
    }
  }
  text += source.slice(copied);

  return {
    text,
    problems,
    original(offset) {
      const piece = pieces.findLast(({ start }) => start <= offset);
      if (piece === undefined) return offset;
      return piece.end === Infinity ? piece.from + offset - piece.start : piece.from;
    },
    isUnknown: (start, end) => pieces.some((piece) => piece.unknown && piece.start < end && piece.end > start),
  };
}

function valueOf(reference: string, env: NodeJS.ProcessEnv): { value: string } | { problem: string } {
  const [, variable, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/.exec(reference) ?? [];
  if (variable === undefined) {
    return {
      problem: `"\${${reference}}" is not a variable; expected \${NAME} or \${NAME:-default} ($\${ for the text \${)`,
    };
  }
  if (fallback?.includes('${')) return { problem: 'a default cannot hold another variable' };
  const value = env[variable];
  if (fallback !== undefined) return { value: value || fallback };
  if (value !== undefined) return { value };
  return { problem: `the environment variable ${variable} is not set; set it, or write a default: \${${variable}:-…}` };
}

/** What the lexer puts between the pieces of the source: a document begins, a flow ends in error, a scalar follows. */
const marks: ReadonlySet<string> = new Set(['\u0002', '\u0018', '\u001f']);

/** Where the comments are, found by YAML's own lexer: a `#` in quotes or in a block of text begins none. */
function commentRanges(source: string): [start: number, end: number][] {
  const ranges: [number, number][] = [];
  let offset = 0;
  for (const token of new Lexer().lex(source)) {
    if (marks.has(token)) continue;
    if (token.startsWith('#')) ranges.push([offset, offset + token.length]);
    offset += token.length;
  }
  return ranges;
}
