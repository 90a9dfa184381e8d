import { createRequire } from 'node:module';
import type { ASTNode, Environment, ParseError } from '@marcbachmann/cel-js';

/**
 * The language of filters: CEL (https://cel.dev), and of that what takes no longer than in proportion to the size of the event,
 * whatever the event holds (ADR 0034).
 */

/** What a filter can look at. Those of the second line are there in the feed of a service's finished calls only. */
const variables = ['topic', 'publisher', 'headers', 'body'] as const;
const callVariables = ['call', 'request', 'response'] as const;

export type FilterVariable = (typeof variables)[number] | (typeof callVariables)[number];

const message = { headers: 'map<string, string>', body: 'dyn' } as const;
/** The fields of {@link callVariables}. */
const fields = {
  call: {
    id: 'string',
    caller: 'string',
    service: 'string',
    route: 'string',
    method: 'string',
    target: 'string',
    outcome: 'string',
  },
  request: message,
  response: { status: 'int', ...message },
} as const;

/** The names of types, as in `type(body.total) == double`. */
const types: ReadonlySet<string> = new Set(['bool', 'int', 'uint', 'double', 'string', 'list', 'map', 'null_type']);
const loops: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'filter']);
const functions: ReadonlySet<string> = new Set([
  ...loops,
  'bool',
  'contains',
  'double',
  'duration',
  'dyn',
  'endsWith',
  'has',
  'int',
  'lowerAscii',
  'size',
  'startsWith',
  'string',
  'timestamp',
  'trim',
  'type',
  'uint',
  'upperAscii',
]);
/** Searching for a text, or reading a duration, that an event brings can take the square of its length. */
const literalOnly: ReadonlySet<string> = new Set(['contains', 'duration']);
const limits = { maxAstNodes: 1_000, maxDepth: 50, maxListElements: 500, maxMapEntries: 500, maxCallArguments: 4 };
const expected = 'expected a CEL expression that is true or false, such as body.total > 100';

/** Text is no filter; the message says what is wrong where, and what is allowed. */
export class FilterError extends Error {
  override readonly name = 'FilterError';
}

/** A filter that has been read. */
export interface Filter {
  /** What it looks at. */
  readonly variables: ReadonlySet<FilterVariable>;
  /**
   * The value of the expression for these facts, which is to be true or false. Objects of JSON are maps in them. Loads nothing,
   * waits for nothing.
   * @throws Error it has no value: it looks at what is not there, or at something of another type
   */
  readonly evaluate: (facts: Partial<Record<FilterVariable, unknown>>) => unknown;
}

/**
 * Reads a filter and checks its types.
 * @throws {FilterError}
 */
export function readFilter(text: string): Filter {
  const environment = language();
  try {
    const expression = environment.parse(text);
    const used = new Set<FilterVariable>();
    check(expression.ast, used);
    const { valid, type = 'dyn', error } = expression.check();
    if (!valid) throw error as ParseError;
    if (type !== 'bool' && type !== 'dyn') throw new FilterError(`is a ${type}; ${expected}`);
    return { variables: used, evaluate: (facts) => expression(facts) as unknown };
  } catch (error) {
    if (error instanceof FilterError) throw error;
    throw explained(error as ParseError);
  }
}

/** The variables that are there only where calls are subscribed to, of those that a filter looks at. */
export function callsLookedAt({ variables: used }: Filter): FilterVariable[] {
  return callVariables.filter((variable) => used.has(variable));
}

let made: Environment | undefined;

/** Most sidecars have no filter, and need not load what reads them. */
function language(): Environment {
  made ??= makeLanguage(createRequire(import.meta.url)('@marcbachmann/cel-js') as CelPackage);
  return made;
}

type CelPackage = { readonly Environment: typeof Environment };

function makeLanguage(cel: CelPackage): Environment {
  const environment = new cel.Environment({ limits, homogeneousAggregateLiterals: false })
    .registerVariable('topic', 'string')
    .registerVariable('publisher', 'string')
    .registerVariable('headers', 'map<string, string>')
    .registerVariable('body', 'dyn');
  for (const name of callVariables) environment.registerVariable({ name, schema: { ...fields[name] } });
  return environment;
}

/** The loop around a part of an expression. */
interface Loop {
  readonly name: string;
  readonly variable: string;
}

/** Finds what CEL has and a filter has not. */
function check(node: ASTNode, used: Set<FilterVariable>, loop?: Loop): void {
  if (node.op === 'id') return checkName(node.args, node, used, loop);
  if (node.op === 'call') return checkCall(node, node.args[0], node.args[1], used, loop);
  if (node.op === 'rcall') {
    const [name, receiver, args] = node.args;
    check(receiver, used, loop);
    return checkCall(node, name, args, used, loop);
  }
  if (node.op === '.' || node.op === '[]') checkHeaderName(node);
  for (const part of partsOf(node.args)) check(part, used, loop);
}

function checkName(name: string, node: ASTNode, used: Set<FilterVariable>, loop: Loop | undefined): void {
  if (name === loop?.variable || types.has(name)) return;
  if (loop !== undefined) {
    const alone = `expected its variable ${loop.variable} and literals alone, which keeps it short whatever an event holds`;
    throw wrong(name, node, `cannot be looked at within ${loop.name}()`, alone);
  }
  if (!isVariable(name)) {
    const known = `${variables.join(', ')}, and with call also ${callVariables.join(', ')}`;
    throw wrong(name, node, 'is not known', `expected one of ${known}`);
  }
  used.add(name);
}

function checkCall(
  node: ASTNode,
  name: string,
  args: readonly ASTNode[],
  used: Set<FilterVariable>,
  loop: Loop | undefined,
): void {
  if (!functions.has(name))
    throw wrong(`${name}()`, node, 'is not offered', `expected one of ${[...functions].toSorted().join(', ')}`);
  if (literalOnly.has(name) && args.some(({ op }) => op !== 'value'))
    throw wrong(`${name}()`, node, 'is given what is no literal', 'expected a text in quotes');
  const [variable, ...rest] = args;
  if (!loops.has(name) || variable?.op !== 'id') for (const arg of args) check(arg, used, loop);
  else for (const arg of rest) check(arg, used, { name, variable: variable.args });
}

/** Names of fields are compared without case (RFC 9110 §5.1), so they are there in small letters. */
function checkHeaderName(node: Extract<ASTNode, { op: '.' | '[]' }>): void {
  const [map, key] = node.args;
  const name = typeof key === 'string' ? key : key.op === 'value' ? key.args : undefined;
  if (typeof name !== 'string' || name === name.toLowerCase()) return;
  const isHeaders = (map.op === 'id' && map.args === 'headers') || (map.op === '.' && map.args[1] === 'headers');
  if (isHeaders && isOfEvent(map))
    throw wrong(
      name,
      node,
      'is never there',
      `expected ${JSON.stringify(name.toLowerCase())}, as all names of fields are in small letters`,
    );
}

/** `headers`, `request.headers`, `response.headers`, and not a field that has this name in a body. */
function isOfEvent(map: ASTNode): boolean {
  return map.op !== '.' || (map.args[0].op === 'id' && isVariable(map.args[0].args) && map.args[0].args !== 'body');
}

function partsOf(args: unknown): ASTNode[] {
  if (Array.isArray(args)) return args.flatMap(partsOf);
  return typeof args === 'object' && args !== null && 'op' in args ? [args as ASTNode] : [];
}

function isVariable(name: string): name is FilterVariable {
  return [...variables, ...callVariables].some((variable) => variable === name);
}

function wrong(what: string, { start }: { readonly start: number }, is: string, allowed: string): FilterError {
  return new FilterError(`${what} at character ${start + 1} ${is}; ${allowed}`);
}

/** What the library has found, in the words of configuration errors. */
function explained({ code, summary, node, range }: ParseError): FilterError {
  const at = range === undefined ? '' : ` at character ${range.start + 1}`;
  if (code === 'no_such_key') {
    const ast = node as ASTNode | undefined;
    const owner = ast?.op === '.' && ast.args[0].op === 'id' ? ast.args[0].args : '';
    if (owner in fields) {
      const known = Object.keys(fields[owner as keyof typeof fields]).join(', ');
      return new FilterError(`${summary.toLowerCase()}${at}; expected ${owner} with one of ${known}`);
    }
  }
  return new FilterError(`is no filter: ${summary.charAt(0).toLowerCase()}${summary.slice(1)}${at}; ${expected}`);
}
