import { Document, isAlias, isMap, isNode, isScalar, isSeq, LineCounter, parseDocument, visit } from 'yaml';
import type { Node, Pair, YAMLError, YAMLMap } from 'yaml';

export type Path = readonly (string | number)[];

/** A parsed YAML file that knows where its values stand. Offsets are those of the text that was parsed. */
export interface ConfigDocument {
  /** The plain value; undefined where the text is empty, or not YAML. */
  readonly value: unknown;
  readonly problems: readonly { readonly offset: number; readonly message: string }[];
  /** Start and end of what stands at `path`, or of the innermost mapping or list around it that is there. */
  range(path: Path): { start: number; end: number; isScalar: boolean };
  /** The same for the key itself. */
  keyRange(path: Path): { start: number; end: number };
  /** The path of the innermost value that the offset is in; empty where the text is not YAML. */
  pathAt(offset: number): Path;
}

/** Parses YAML 1.2 with anchors and merge keys (`<<`). Never throws. */
export function parseConfig(text: string): ConfigDocument {
  const document = parseDocument(text, { prettyErrors: false, stringKeys: true, merge: true });
  const root = document.contents;
  // A duplicate key leaves a tree that can be checked; after any other error the tree is a guess.
  const isBroken = document.errors.some(({ code }) => code !== 'DUPLICATE_KEY');
  const problems = [...firstOfEachLine(document.errors, text), ...document.warnings].map(problemOf);
  const strayAliases = isBroken ? [] : unresolvedAliases(document);
  let value: unknown;
  if (!isBroken && strayAliases.length === 0) {
    try {
      value = document.toJS() ?? undefined;
    } catch (error) {
      // Aliases of aliases that multiply beyond reason.
      problems.push({ offset: 0, message: readable(error instanceof Error ? error.message : String(error)) });
    }
  }

  return {
    value,
    problems: [...problems, ...strayAliases],
    range(path) {
      const { node } = walk(document, root, path);
      return { ...rangeOf(node), isScalar: isScalar(node) };
    },
    keyRange(path) {
      const parent = walk(document, root, path.slice(0, -1));
      const pair = parent.found && isMap(parent.node) ? pairOf(document, parent.node, path.at(-1)!) : undefined;
      return rangeOf(isNode(pair?.key) ? pair.key : parent.node);
    },
    pathAt: (offset) => (isBroken ? [] : pathAt(root, offset)),
  };
}

/** One slip of the pen makes many errors behind it on its line, which say nothing more. */
function firstOfEachLine(errors: readonly YAMLError[], text: string): YAMLError[] {
  const position = positions(text);
  const seen = new Set<number>();
  return errors.filter(({ pos }) => {
    const { line } = position(pos[0]);
    return seen.size < seen.add(line).size;
  });
}

function problemOf({ code, pos, message }: YAMLError): { offset: number; message: string } {
  const offset = pos[0];
  if (code === 'DUPLICATE_KEY') return { offset, message: 'is already there; expected each key once' };
  if (code === 'MULTIPLE_DOCS') return { offset, message: 'a second document begins here; expected one in each file' };
  return { offset, message: readable(message) };
}

function readable(message: string): string {
  const first = message.replaceAll(/\s+/g, ' ').trim();
  return `this is not YAML: ${first.charAt(0).toLowerCase()}${first.slice(1)}`;
}

function unresolvedAliases(document: Document): { offset: number; message: string }[] {
  const stray: { offset: number; message: string }[] = [];
  visit(document, {
    Alias(_, alias) {
      if (alias.resolve(document) !== undefined) return;
      const message = `no anchor &${alias.source} stands before this; expected one, or quotes around text with a * in front`;
      stray.push({ offset: rangeOf(alias).start, message });
    },
  });
  return stray;
}

function rangeOf(node: Node | null): { start: number; end: number } {
  const [start, end] = node?.range ?? [0, 0];
  return { start, end };
}

/** Follows a path as far as the document goes. */
function walk(document: Document, root: Node | null, path: Path): { node: Node | null; found: boolean } {
  let node = root;
  for (const step of path) {
    const inside = isAlias(node) ? (node.resolve(document) ?? null) : node;
    const next = isMap(inside)
      ? pairOf(document, inside, step)?.value
      : isSeq(inside) && typeof step === 'number'
        ? inside.items[step]
        : undefined;
    if (!isNode(next)) return { node, found: false };
    node = next;
  }
  return { node, found: node !== null };
}

function pairOf(document: Document, map: YAMLMap, name: string | number): Pair | undefined {
  // The last one is the one that `toJS` took where a key is there twice.
  const own = map.items.findLast((pair) => isScalar(pair.key) && String(pair.key.value) === String(name));
  if (own !== undefined) return own;
  for (const pair of map.items) {
    if (!isScalar(pair.key) || pair.key.source !== '<<') continue;
    const sources = isSeq(pair.value) ? pair.value.items : [pair.value];
    for (const source of sources) {
      const merged = isAlias(source) ? source.resolve(document) : source;
      const found = isMap(merged) ? pairOf(document, merged, name) : undefined;
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function pathAt(root: unknown, offset: number): Path {
  const inside = (node: unknown) => {
    if (!isNode(node) || !node.range) return false;
    return offset >= node.range[0] && offset <= node.range[1];
  };
  const path: (string | number)[] = [];
  let node: unknown = root;
  for (;;) {
    let next: unknown;
    if (isMap(node)) {
      const pair = node.items.findLast(({ key, value }) => inside(key) || inside(value));
      if (isScalar(pair?.key)) path.push(String(pair.key.value));
      next = inside(pair?.value) ? pair?.value : undefined;
    } else if (isSeq(node)) {
      const index = node.items.findLastIndex(inside);
      if (index >= 0) path.push(index);
      next = node.items[index];
    }
    if (next === undefined) return path;
    node = next;
  }
}

/** Line and column of offsets, from 1. */
export function positions(text: string): (offset: number) => { line: number; column: number } {
  const lines = new LineCounter();
  lines.addNewLine(0);
  for (const { index } of text.matchAll(/\n/g)) lines.addNewLine(index + 1);
  return (offset) => {
    const { line, col } = lines.linePos(Math.min(offset, text.length));
    return { line, column: col };
  };
}

/** `outbound.routes[0].match`, `outbound.ports["127.0.0.1:4101"]`. */
export function writePath(path: Path): string {
  return path
    .map((step, index) => {
      if (typeof step === 'number') return `[${step}]`;
      if (!/^[\w-]+$/.test(step)) return `[${JSON.stringify(step)}]`;
      return index === 0 ? step : `.${step}`;
    })
    .join('');
}

/** A plain value as YAML for people: lists of single words on one line. */
export function writeYaml(value: unknown): string {
  const document = new Document(value);
  visit(document, {
    Seq(_, list) {
      list.flow = list.items.every(isScalar);
    },
  });
  return document.toString({ lineWidth: 0, flowCollectionPadding: false, singleQuote: true });
}
