import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { describedKeys } from '../../../sidecar/config/json-schema.ts';
import { explain } from '../../../sidecar/config/explain.ts';
import { formatConfigError, loadConfig, readConfig } from '../../../sidecar/config/load.ts';
import { drifted, generatedFiles } from '../../gate/generated.ts';
import { createTempDir } from '../../support/temp-dir.ts';

const top = join(import.meta.dirname, '../../..');
const doc = await readFile(join(top, 'sidecar/docs/configuration.md'), 'utf8');
const reference = join(top, 'config/reference.yaml');

/** `outbound.routes[].match.host` for each row of each table of keys. */
function documentedKeys(text: string): string[] {
  const tables = text.matchAll(/<!-- keys: (.+?) -->\n([^]*?)<!-- \/keys -->/g);
  return [...tables].flatMap(([, section = '', table = '']) => {
    const prefix = section === 'top level' ? '' : `${section}.`;
    return [...table.matchAll(/^\| `([^`]+)` \|/gm)].map(([, name = '']) => prefix + name);
  });
}

/** The keys that a value has, in the same form. */
function keysIn(value: unknown, path = ''): string[] {
  if (Array.isArray(value)) return value.flatMap((item) => keysIn(item, `${path}[]`));
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([name, child]) => {
    const inside = path === '' ? name : `${path}.${name}`;
    return [inside, ...keysIn(child, inside)];
  });
}

test('every key is in the documentation once, and every documented key in the schema', () => {
  const keys = describedKeys().map(({ path }) => path);
  expect(keys.length).toBeGreaterThan(70);
  expect(documentedKeys(doc).toSorted()).toEqual(keys.toSorted());
});

test('every key says what it means, and every default why', () => {
  const silent = describedKeys().filter(({ schema }) => !schema.description?.endsWith('.'));
  const unexplained = describedKeys().filter(({ schema }) => {
    const isEmpty = typeof schema.default === 'object' && Object.keys(schema.default ?? {}).length === 0;
    return schema.default !== undefined && !isEmpty && schema.reason === undefined;
  });
  expect([...silent, ...unexplained].map(({ path }) => path)).toEqual([]);
});

describe('the reference file', () => {
  test('is valid', () => {
    const result = loadConfig(reference, {});
    expect(result.ok ? [] : result.errors.map(formatConfigError)).toEqual([]);
  });

  test('has every key, those that need files or a token as comments', async () => {
    const text = await readFile(reference, 'utf8');
    const uncommented = text.replaceAll(/^( *)# (credentials|tls|token): /gm, '$1$2: ');
    const keys = new Set(keysIn(parse(uncommented)));
    const missing = describedKeys()
      .map(({ path }) => path)
      .filter((path) => !keys.has(path));
    expect(missing).toEqual(['subscribe[].retry.on']);
  });

  test('shows the defaults', () => {
    const minimal = `
service: orders
broker: nats://127.0.0.1:4222
outbound: { routes: [{ name: charge, match: { host: payments } }] }
inbound: [{ url: "http://127.0.0.1:3000", health: { path: /healthz } }]
subscribe: [{ name: s, topic: t, to: POST /x }]
`;
    const [full, defaults] = [loadConfig(reference, {}), readConfig(minimal, 'minimal.yaml', {})];
    if (!full.ok || !defaults.ok) throw new Error('both are valid');
    const [shown, meant] = [explain(full.config), explain(defaults.config)];
    expect(shown['broker']).toEqual(meant['broker']);
    expect(shown['admin']).toEqual(meant['admin']);
    expect(shown['shutdown']).toEqual(meant['shutdown']);
    expect(shown['telemetry']).toMatchObject(meant['telemetry'] as object);
    const { match: _, name, ...meantRoute } = defaults.config.outbound!.routes[0]!;
    expect(full.config.outbound!.routes[0]).toMatchObject({ name, ...meantRoute, idempotent: false });
    expect(full.config.outbound).toMatchObject({
      listen: defaults.config.outbound!.listen,
      unmatched: defaults.config.outbound!.unmatched,
      limits: defaults.config.outbound!.limits,
    });
    expect(full.config.inbound[0]).toMatchObject({ ...defaults.config.inbound[0] });
    const { from, url, retry, timeout } = defaults.config.subscribe[0]!;
    expect(full.config.subscribe[0]).toMatchObject({ from, url, retry, timeout });
  });
});

test('examples in the documentation are valid', () => {
  const examples = [...doc.matchAll(/^```yaml\n([^]*?)^```/gm)]
    .map(([, text = '']) => text)
    .filter((text) => text.includes('service:'));
  expect(examples).toHaveLength(2);
  const errors = examples.flatMap((text) => {
    const result = readConfig(text, 'example.yaml', {});
    return result.ok ? [] : result.errors.map(formatConfigError);
  });
  expect(errors).toEqual([]);
});

describe('generated files', () => {
  test('are what the code makes of them', async () => {
    expect((await drifted()).map(({ path }) => path)).toEqual([]);
  });

  test('that have drifted, or are missing, are found', async () => {
    await using folder = await createTempDir('generated');
    await writeFile(folder.join('same'), 'text');
    await writeFile(folder.join('other'), 'old text');
    const files = ['same', 'other', 'missing'].map((path) => ({ path, content: () => 'text' }));
    expect((await drifted(files, folder.path)).map(({ path }) => path)).toEqual(['other', 'missing']);
    expect(generatedFiles.length).toBeGreaterThan(1);
  });

  test('the command says that all is well', async () => {
    const command = promisify(execFile)(process.execPath, [join(top, 'test/gate/generated.ts'), '--check']);
    await expect(command).resolves.toEqual({ stdout: '', stderr: '' });
  });
});

describe('the schema for editors', async () => {
  const schema = JSON.parse(await readFile(join(top, 'config/holdline.schema.json'), 'utf8'));

  test('refuses unknown keys, and shows meaning, default and reason', () => {
    const { hold } = schema.properties.outbound.properties.routes.items.properties;
    expect(schema.additionalProperties).toBe(false);
    expect(hold).toMatchObject({ title: 'duration', default: '30s' });
    expect(hold.description).toContain('Why this default: ');
  });

  test('lets a variable stand where a number must', () => {
    const { concurrency } = schema.properties.inbound.items.properties;
    expect(concurrency.anyOf).toEqual([
      { type: 'integer', minimum: 1, maximum: Number.MAX_SAFE_INTEGER },
      { $ref: '#/$defs/variable' },
    ]);
    expect('${CONCURRENCY:-64}').toMatch(new RegExp(schema.$defs.variable.pattern));
  });
});
