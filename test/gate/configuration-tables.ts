import { describedKeys } from '../../sidecar/config/json-schema.ts';
import type { DescribedKey, JsonSchema } from '../../sidecar/config/json-schema.ts';

/**
 * Fills the tables of `sidecar/docs/configuration.md`. A table stands between `<!-- keys: SECTION -->` and
 * `<!-- /keys -->`, and lists the keys directly in that section (`top level` for those in none).
 */
export function fillTables(current: string): string {
  return current.replaceAll(
    /(<!-- keys: (.+?) -->\n)[^]*?(<!-- \/keys -->)/g,
    (_, begin: string, section: string, end: string) =>
      // Aligned, tables with sentences in them would be unreadable and change as a whole with each word.
      `${begin}\n<!-- prettier-ignore-start -->\n${tableOf(section)}\n<!-- prettier-ignore-end -->\n\n${end}`,
  );
}

function tableOf(section: string): string {
  const prefix = section === 'top level' ? '' : `${section}.`;
  const keys = describedKeys().filter(
    ({ path }) => path.startsWith(prefix) && !path.slice(prefix.length).includes('.'),
  );
  if (keys.length === 0) throw new Error(`configuration.md has a table for ${section}, which has no keys`);
  const rows = keys.map((key) => row(key, key.path.slice(prefix.length)));
  return [
    '| key | type | default | meaning | why this default, or what holds without it |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n');
}

function row(key: DescribedKey, name: string): string {
  const { description = '', reason = '' } = key.schema;
  const cells = [`\`${name}\``, typeOf(key.schema), defaultOf(key), description, reason];
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
}

function typeOf(schema: JsonSchema): string {
  const { title, type, enum: choices, const: only, anyOf, items, additionalProperties } = schema;
  if (choices) return choices.map((choice) => `\`${plain(choice)}\``).join(' or ');
  if (only !== undefined) return `\`${plain(only)}\``;
  if (title !== undefined) return title;
  if (anyOf) return [...new Set(anyOf.map(typeOf))].join(' or ');
  if (items) return `list of ${typeOf(items)}s`;
  if (typeof additionalProperties === 'object') return `mapping to ${typeOf(additionalProperties)}`;
  switch (type) {
    case 'object':
      return 'mapping';
    case 'integer':
      return 'whole number';
    case 'boolean':
      return 'true or false';
    default:
      return type ?? 'any';
  }
}

function defaultOf({ schema, required }: DescribedKey): string {
  if (required) return '*required*';
  const value = schema.default;
  if (value === undefined) return 'none';
  if (typeof value === 'object' && value !== null && Object.keys(value).length === 0) {
    return Array.isArray(value) ? 'empty' : schema.properties ? 'see below' : 'empty';
  }
  return `\`${plain(value)}\``;
}

/** As it would be written in the file. */
function plain(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(plain).join(', ')}]`;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
