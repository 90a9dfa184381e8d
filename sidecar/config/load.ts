import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { checkCoherence } from './coherence.ts';
import type { Config } from './config.ts';
import { parseConfig, positions, writePath } from './document.ts';
import type { ConfigDocument } from './document.ts';
import { substitute } from './environment.ts';
import { checkFiles, namedFiles, readFailure } from './files.ts';
import { describeIssue, problemsOf } from './issues.ts';
import type { Problem } from './issues.ts';
import { resolveConfig } from './resolve.ts';
import { configSchema } from './schema.ts';

export type LoadResult =
  | {
      readonly ok: true;
      /** Frozen, with everything in it. */
      readonly config: Config;
      /** The file's text as it was read, for `watchConfig`. */
      readonly text: string;
      /** What the file says without effect. */
      readonly remarks: readonly ConfigError[];
      /** Absolute paths of the file and of all files that it names. */
      readonly files: readonly string[];
    }
  | {
      readonly ok: false;
      readonly errors: readonly ConfigError[];
      readonly remarks: readonly ConfigError[];
      readonly text?: string;
    };

/** One mistake, at its place in the file; line and column count from 1. */
export interface ConfigError {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** `outbound.routes[0].hold`; `(file)` where it is about all of it. */
  readonly path: string;
  /** What is wrong, and what is allowed. */
  readonly message: string;
}

/** `file:line:column: path: what is wrong, what is allowed` */
export function formatConfigError({ file, line, column, path, message }: ConfigError): string {
  return `${file}:${line}:${column}: ${path}: ${message}`;
}

/**
 * Reads a configuration file, and finds all its mistakes at once. Never throws for what is in the file or for a file
 * that cannot be read.
 * @param file as the user named it; errors repeat it like that
 */
export function loadConfig(file: string, env: NodeJS.ProcessEnv): LoadResult {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    const message = `${readFailure(error)}; expected a readable YAML file`;
    return { ok: false, errors: [{ file, line: 1, column: 1, path: '(file)', message }], remarks: [] };
  }
  return readConfig(text, file, env);
}

/** The same for text that was read already; `file` is where it came from. */
export function readConfig(text: string, file: string, env: NodeJS.ProcessEnv): LoadResult {
  const folder = dirname(resolve(file));
  const substituted = substitute(text, env);
  const document = parseConfig(substituted.text);
  const position = positions(text);
  const errors: Located[] = [];
  const remarks: Located[] = [];
  const report = (offset: number, path: string, message: string, found = errors) => {
    const original = substituted.original(offset);
    // What an alias repeats is one mistake.
    if (found.some((other) => other.offset === original && other.message === message)) return;
    found.push({ file, ...position(original), path: path || '(file)', message, offset: original });
  };

  for (const { offset, message } of [...substituted.problems, ...document.problems]) {
    report(offset, writePath(document.pathAt(offset)), message);
  }
  const checked = document.value === undefined ? undefined : check(document.value, folder);
  for (const problem of checked?.problems ?? emptyFile(document)) {
    const { start, end, isScalar } = placeOf(problem, document);
    // What stands for a variable that is not set has no value of its own to complain about.
    if (isScalar && substituted.isUnknown(start, end)) continue;
    report(start, writePath(problem.path), problem.message, problem.isHarmless === true ? remarks : errors);
  }

  if (errors.length > 0 || checked?.config === undefined) {
    return { ok: false, errors: inOrder(errors), remarks: inOrder(remarks), text };
  }
  const files = [resolve(file), ...checked.files];
  return { ok: true, config: deepFreeze(checked.config), text, remarks: inOrder(remarks), files };
}

type Located = ConfigError & { readonly offset: number };

function inOrder(found: readonly Located[]): ConfigError[] {
  return found.toSorted((a, b) => a.offset - b.offset).map(({ offset: _, ...error }) => error);
}

/** A file of comments alone is valid YAML, and means nothing. */
function emptyFile(document: ConfigDocument): Problem[] {
  if (document.problems.length > 0) return [];
  return [{ path: [], at: 'value', message: 'the file is empty; expected at least service and broker' }];
}

function check(value: unknown, folder: string): { problems: Problem[]; config?: Config; files: string[] } {
  const references = namedFiles(value, folder);
  const parsed = configSchema.safeParse(value, { error: describeIssue });
  const problems = [
    ...(parsed.success ? [] : problemsOf(parsed.error.issues)),
    ...checkCoherence(value),
    ...checkFiles(references),
  ];
  const files = references.map(({ file }) => file);
  if (!parsed.success || problems.some(({ isHarmless }) => isHarmless !== true)) return { problems, files };
  return { problems, config: resolveConfig(parsed.data, folder), files };
}

function placeOf({ path, at }: Problem, document: ConfigDocument): { start: number; end: number; isScalar: boolean } {
  if (at === 'key') return { ...document.keyRange(path), isScalar: true };
  return document.range(path);
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(deepFreeze);
  }
  return value;
}
