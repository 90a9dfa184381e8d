import { mkdir, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { brokerFromUrl } from '../../../sidecar/config/broker.ts';
import { formatConfigError, loadConfig } from '../../../sidecar/config/load.ts';
import { NotationError } from '../../../sidecar/config/notation.ts';
import { createTempDir } from '../../support/temp-dir.ts';

const smallest = 'service: payments\nbroker: sqlite:./data/x.db\ninbound: [{ url: "http://127.0.0.1:3000" }]\n';

test('a loaded configuration comes with its text and the files it names, and cannot be changed', async () => {
  await using folder = await createTempDir('config');
  const text = `service: payments\nbroker: { url: nats://a, credentials: keys/a.creds }\ninbound: [{ url: "http://a" }]\n`;
  const file = folder.join('payments.yaml');
  await mkdir(folder.join('keys'));
  await writeFile(folder.join('keys/a.creds'), '');
  await writeFile(file, text);

  const result = loadConfig(relative(process.cwd(), file), {});

  if (!result.ok) throw new Error(result.errors.map(formatConfigError).join('\n'));
  expect(result.text).toBe(text);
  expect(result.files).toEqual([file, folder.join('keys/a.creds')]);
  expect(result.config.broker).toMatchObject({ credentials: folder.join('keys/a.creds') });
  const frozen = (value: unknown): boolean =>
    typeof value !== 'object' || value === null || (Object.isFrozen(value) && Object.values(value).every(frozen));
  expect(frozen(result.config)).toBe(true);
});

test('relative paths start at the file’s folder, wherever the process is', async () => {
  await using folder = await createTempDir('config');
  await writeFile(folder.join('a.yaml'), smallest);
  const result = loadConfig(folder.join('a.yaml'), {});
  expect(result.ok && result.config.broker).toMatchObject({ kind: 'sqlite', file: folder.join('data/x.db') });
});

test('errors name the file as the user did', async () => {
  await using folder = await createTempDir('config');
  await writeFile(folder.join('a.yaml'), `${smallest}shutdwn: {}\n`);
  const file = relative(process.cwd(), folder.join('a.yaml'));
  const result = loadConfig(file, {});
  expect(result.ok ? [] : result.errors).toEqual([
    { file, line: 4, column: 1, path: 'shutdwn', message: expect.stringContaining('did you mean shutdown?') },
  ]);
});

describe('a file that cannot be read is an error like any other', () => {
  test.for([
    ['gone.yaml', 'does not exist'],
    ['.', 'is a folder'],
    ['there.yaml/x', 'does not exist'],
  ])('%s %s', async ([name, reason]) => {
    await using folder = await createTempDir('config');
    await writeFile(folder.join('there.yaml'), smallest);
    const file = join(folder.path, name!);
    const result = loadConfig(file, {});
    const lines = result.ok ? [] : result.errors.map(formatConfigError);
    expect(lines).toEqual([`${file}:1:1: (file): ${reason}; expected a readable YAML file`]);
  });
});

test('a variable may stand for a whole mapping, since text is replaced before it is parsed', async () => {
  await using folder = await createTempDir('config');
  await writeFile(folder.join('a.yaml'), 'service: a\nbroker: ${BROKER}\n${INBOUND}\n');
  const env = { BROKER: '{ url: nats://a, replicas: 3 }', INBOUND: 'inbound:\n  - url: http://a' };
  const result = loadConfig(folder.join('a.yaml'), env);
  expect(result.ok && result.config).toMatchObject({ broker: { replicas: 3 }, inbound: [{ url: 'http://a' }] });
});

test('a broker given by its URL alone has every default', () => {
  expect(brokerFromUrl('nats://127.0.0.1', '/work')).toMatchObject({
    kind: 'nats',
    servers: ['nats://127.0.0.1:4222'],
    namespace: 'holdline',
    replicas: 1,
    retention: { responses: 3_600_000, keyed: 86_400_000, broadcasts: 604_800_000, deadLetters: 2_592_000_000 },
  });
  expect(brokerFromUrl('sqlite:x.db', '/work')).toMatchObject({ kind: 'sqlite', file: '/work/x.db' });
  expect(brokerFromUrl('sqlite:///tmp/x.db', '/work')).toMatchObject({ kind: 'sqlite', file: '/tmp/x.db' });
  expect(() => brokerFromUrl('amqp://127.0.0.1', '/work')).toThrow(NotationError);
});
