import type * as z from 'zod';
import type { Path } from './document.ts';
import { describedKeys, keysAt } from './json-schema.ts';
import { suggestion, unfit } from './key.ts';

/** Something wrong at a path: with the value there, or with the key itself. */
export interface Problem {
  readonly path: Path;
  readonly at: 'value' | 'key';
  readonly message: string;
  /** The file is valid all the same: it says something that has no effect. */
  readonly isHarmless?: true;
}

/** Words for what zod finds by itself; keys with a notation of their own bring theirs. */
export function describeIssue(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code !== 'invalid_type') return undefined;
  if (issue.expected === 'object' || issue.expected === 'record') return unfit(issue.input, 'a mapping');
  return undefined;
}

/** One problem for each thing that the user can mend. */
export function problemsOf(issues: readonly z.core.$ZodIssue[]): Problem[] {
  return issues.flatMap((issue): Problem[] => {
    const path = issue.path as Path;
    switch (issue.code) {
      case 'unrecognized_keys':
        return issue.keys.map((key) => ({ path: [...path, key], at: 'key', message: unknownKey(path, key) }));
      case 'invalid_key':
        return issue.issues.map(({ message }) => ({ path, at: 'key', message }));
      case 'invalid_union': {
        const meant = meantBranch(issue);
        if (meant === undefined) return [{ path, at: 'value', message: issue.message }];
        return problemsOf(meant.map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] })));
      }
      default:
        return [{ path, at: 'value', message: issue.message }];
    }
  });
}

/** The alternative whose kind of value (text, mapping, list) is there, so that its complaint is the useful one. */
function meantBranch(issue: z.core.$ZodIssueInvalidUnion): z.core.$ZodIssue[] | undefined {
  const meant = issue.errors.filter((errors) => !errors.some(isOfOtherKind));
  return meant.length === 1 ? meant[0] : undefined;
}

function isOfOtherKind(issue: z.core.$ZodIssue): boolean {
  if (issue.path.length > 0) return false;
  return issue.code === 'invalid_type' || (issue.code === 'invalid_union' && meantBranch(issue) === undefined);
}

function unknownKey(path: Path, key: string): string {
  const allowed = keysAt(path);
  const near = suggestion(key, allowed);
  const elsewhere = describedKeys().filter(({ name }) => name === key);
  const belongs = near === '' && elsewhere.length === 1 ? `; it belongs in ${parent(elsewhere[0]!.path)}` : '';
  return `is not a known key here${near}${belongs}; expected ${listed(allowed)}`;
}

function parent(path: string): string {
  return path.includes('.') ? path.slice(0, path.lastIndexOf('.')) : 'the top level';
}

function listed(names: readonly string[]): string {
  return names.length === 1 ? names[0]! : `one of ${names.join(', ')}`;
}
