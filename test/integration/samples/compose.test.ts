import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { formatConfigError, loadConfig } from '../../../sidecar/config/load.ts';

interface ComposeService {
  readonly build?: { readonly dockerfile: string };
  readonly command?: string | readonly string[];
  readonly network_mode?: string;
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly ports?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

const root = join(import.meta.dirname, '../../..');
const { services } = parse(readFileSync(join(root, 'docker-compose.yml'), 'utf8'), { merge: true }) as {
  services: Record<string, ComposeService>;
};

const examples = ['config', 'config/compose'].flatMap((folder) =>
  readdirSync(join(root, folder))
    .filter((name) => name.endsWith('.yaml'))
    .map((name) => join(folder, name)),
);

test.each(examples)('%s is valid', (file) => {
  const loaded = loadConfig(join(root, file), { ...process.env, HOLDLINE_ADMIN_TOKEN: 'a-token' });
  expect(loaded.ok ? [] : loaded.errors.map(formatConfigError)).toEqual([]);
});

// What can be seen without Docker: that everything named is there, and that the start has an order.
describe('docker-compose.yml', () => {
  test.each(Object.entries(services))('%s names only what exists', (_name, service) => {
    const { build, command, network_mode: mode, depends_on: needs } = service;
    const words = Array.isArray(command) ? (command as readonly string[]) : [];
    const files = words
      .filter((word) => /\.(ts|yaml|conf)$/.test(word))
      .map((word) => word.replace('/etc/holdline/', 'config/compose/'));
    if (build) files.push(build.dockerfile);
    expect(files.filter((file) => !existsSync(join(root, file)))).toEqual([]);
    const named = [...Object.keys(needs ?? {}), ...(mode ? [mode.replace(/^service:/, '')] : [])];
    for (const other of named) expect(services).toHaveProperty(other);
  });

  test('the start has an order', () => {
    const started = new Set<string>();
    for (let before = -1; before < started.size;) {
      before = started.size;
      for (const [name, { depends_on: needs }] of Object.entries(services)) {
        if (Object.keys(needs ?? {}).every((other) => started.has(other))) started.add(name);
      }
    }
    expect([...started].toSorted()).toEqual(Object.keys(services).toSorted());
  });

  test('nothing is published beyond this machine', () => {
    const published = Object.values(services).flatMap(({ ports }) => ports ?? []);
    expect(published).not.toHaveLength(0);
    for (const port of published) expect(port).toMatch(/^127\.0\.0\.1:/);
  });

  test.each(['orders', 'payments', 'notifications'])('%s and its sidecar listen where the other one looks', (name) => {
    const pod = `service:${name}-pod`;
    expect([services[name]?.network_mode, services[`${name}-sidecar`]?.network_mode]).toEqual([pod, pod]);
    const loaded = loadConfig(join(root, 'config/compose', `${name}.yaml`), { HOLDLINE_ADMIN_TOKEN: 'a-token' });
    if (!loaded.ok) throw new Error('not valid');
    const { config } = loaded;
    const environment = services[name]?.environment ?? {};
    const local = [...config.inbound, ...config.subscribe].map(({ url }) => url);
    expect(new Set(local)).toEqual(new Set([`http://127.0.0.1:${environment['PORT']}`]));
    const called = Object.entries(environment).filter(([variable]) => variable.endsWith('_URL'));
    const opened = (config.outbound?.ports ?? []).map(({ listen, host }) => [
      `${host.toUpperCase()}_URL`,
      `http://${listen.host}:${listen.port}`,
    ]);
    expect(opened).toEqual(called);
  });
});
