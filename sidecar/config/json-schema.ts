import * as z from 'zod';
import type { Path } from './document.ts';
import { configSchema } from './schema.ts';

/** The part of JSON Schema that zod writes for this configuration; `reason` is ours. */
export interface JsonSchema {
  $schema?: string;
  $ref?: string;
  $defs?: Record<string, JsonSchema>;
  title?: string;
  description?: string;
  reason?: string;
  default?: unknown;
  type?: string;
  pattern?: string;
  const?: unknown;
  enum?: unknown[];
  anyOf?: JsonSchema[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  propertyNames?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
}

let described: JsonSchema | undefined;

/** The configuration's keys as data: meaning, type, default, and the reason for the default. */
function describeConfig(): JsonSchema {
  described ??= z.toJSONSchema(configSchema, { io: 'input' }) as JsonSchema;
  return described;
}

/** A key of the configuration; `path` as in `outbound.routes[].match.host`, `<name>` where the user chooses the key. */
export interface DescribedKey {
  readonly path: string;
  readonly name: string;
  readonly schema: JsonSchema;
  readonly required: boolean;
}

/** Every key, in the order of the schema, each mapping before what is in it. */
export function describedKeys(schema: JsonSchema = describeConfig(), prefix = ''): DescribedKey[] {
  const inside = (value: JsonSchema, path: string): DescribedKey[] => [
    ...(value.anyOf ?? []).flatMap((branch) => inside(branch, path)),
    ...(value.items ? inside(value.items, `${path}[]`) : []),
    ...describedKeys(value, `${path}.`),
  ];
  return Object.entries(schema.properties ?? {}).flatMap(([name, child]) => [
    { path: prefix + name, name, schema: child, required: schema.required?.includes(name) ?? false },
    ...inside(child, prefix + name),
  ]);
}

/** The keys that the mapping at `path` may have. */
export function keysAt(path: Path): string[] {
  let candidates = [describeConfig()];
  for (const step of path) {
    candidates = candidates.flatMap(branches).flatMap((schema) => {
      const next = typeof step === 'number' ? schema.items : schema.properties?.[step];
      return next ? [next] : [];
    });
  }
  return candidates.flatMap(branches).flatMap((schema) => Object.keys(schema.properties ?? {}));
}

function branches(schema: JsonSchema): JsonSchema[] {
  return [schema, ...(schema.anyOf ?? []).flatMap(branches)];
}

/**
 * The JSON Schema for editors: reasons are part of the descriptions, and wherever a value may stand an environment
 * variable may stand too.
 */
export function editorSchema(): JsonSchema {
  return { ...forEditors(describeConfig()), $defs: { variable } };
}

const variable: JsonSchema = {
  title: 'environment variable',
  description: 'Replaced before the file is read: `${NAME}` or `${NAME:-default}`.',
  type: 'string',
  pattern: String.raw`\$\{`,
};

function forEditors(schema: JsonSchema): JsonSchema {
  const { reason, description, ...rest } = schema;
  const why = rest.default === undefined ? 'Without it' : 'Why this default';
  const help = [description, reason && `${why}: ${reason}.`];
  const copy: JsonSchema = {
    ...(description !== undefined && { description: help.filter(Boolean).join('\n\n') }),
    ...rest,
    ...(rest.anyOf && { anyOf: rest.anyOf.map(forEditors) }),
    ...(rest.items && { items: forEditors(rest.items) }),
    ...(typeof rest.additionalProperties === 'object' && {
      additionalProperties: forEditors(rest.additionalProperties),
    }),
    ...(rest.properties && {
      properties: Object.fromEntries(Object.entries(rest.properties).map(([name, child]) => [name, forEditors(child)])),
    }),
  };
  const takesAnyText = copy.type === 'string' && copy.pattern === undefined && copy.enum === undefined;
  const isScalar =
    copy.enum !== undefined || copy.const !== undefined || /^(string|integer|number|boolean)$/.test(copy.type ?? '');
  if (!isScalar || takesAnyText) return copy;
  const { title, description: text, default: value, ...constraint } = copy;
  return {
    ...(title !== undefined && { title }),
    ...(text !== undefined && { description: text }),
    ...(value !== undefined && { default: value }),
    anyOf: [constraint, { $ref: '#/$defs/variable' }],
  };
}
