import { describe, expect, test } from 'vitest';
import { importsIn, type SourceImport, sourceImports } from '../../support/source-imports.ts';

/** The rooms of the house, by path; the first that fits is the one. */
const rooms = {
  channels: /^sidecar\/telemetry\/channels\.ts$/,
  opening: /^sidecar\/broker\/open\.ts$/,
  port: /^sidecar\/broker\/[^/]+\.ts$/,
  jetstream: /^sidecar\/broker\/jetstream\//,
  sqlite: /^sidecar\/broker\/sqlite\//,
  collections: /^sidecar\/collections\//,
  model: /^sidecar\/model\//,
  policy: /^sidecar\/policy\//,
  http: /^sidecar\/http\//,
  config: /^sidecar\/config\//,
  telemetry: /^sidecar\/telemetry\//,
  outbound: /^sidecar\/outbound\//,
  inbound: /^sidecar\/inbound\//,
  lifecycle: /^sidecar\/lifecycle\//,
  admin: /^sidecar\/admin\//,
  cli: /^sidecar\/cli\//,
  demo: /^sidecar\/demo\//,
  main: /^sidecar\/main\.ts$/,
  app: /^sidecar\/[^/]+\.ts$/,
  'sample-services': /^sample-services\//,
  package: /^package\.json$/,
} as const;

type Room = keyof typeof rooms;

const halves = ['collections', 'channels', 'port', 'model', 'policy', 'http', 'config', 'lifecycle'] as const;
const adapter = ['collections', 'channels', 'port', 'model', 'policy', 'http', 'config', 'lifecycle'] as const;

/** What each room may use besides itself, and why no more. */
const mayUse: Record<Room, { readonly rooms: readonly Room[] | 'all'; readonly because: string }> = {
  collections: { rooms: [], because: 'containers know nothing of what is in them' },
  model: { rooms: [], because: 'the words depend on nothing' },
  channels: { rooms: ['model'], because: 'rooms publish in the words of the model; who listens is not their business' },
  config: { rooms: ['model'], because: 'a configuration is data: it is parsed once and decides nothing' },
  policy: { rooms: ['model', 'config'], because: 'decisions are pure functions of the words and the configuration' },
  http: { rooms: ['model', 'policy', 'config', 'channels'], because: 'both halves share it, so it knows neither' },
  port: { rooms: ['model', 'config'], because: 'the port speaks the words of the contract and no engine’s' },
  opening: { rooms: ['port', 'jetstream', 'sqlite', 'model', 'config'], because: 'it only picks the adapter' },
  jetstream: { rooms: adapter, because: 'an adapter fulfils the port and knows nobody who uses it' },
  sqlite: { rooms: adapter, because: 'an adapter fulfils the port and knows nobody who uses it' },
  outbound: { rooms: halves, because: 'the halves meet at the broker port only, whichever adapter is behind it' },
  inbound: { rooms: halves, because: 'the halves meet at the broker port only, whichever adapter is behind it' },
  lifecycle: { rooms: ['model', 'config', 'channels', 'package'], because: 'it orders what is handed to it' },
  telemetry: {
    rooms: ['model', 'config', 'channels', 'package'],
    because: 'it subscribes to channels; it calls nobody',
  },
  admin: { rooms: halves, because: 'it shows what it is handed and what the port tells' },
  app: { rooms: 'all', because: 'the composition root alone knows everything' },
  cli: { rooms: 'all', because: 'commands compose, too' },
  demo: { rooms: [], because: 'it plays with the product as its users do: by processes, ports and files' },
  main: { rooms: ['cli'], because: 'it is thirty lines' },
  'sample-services': { rooms: [], because: 'an ordinary service does not know of Holdline' },
  package: { rooms: [], because: 'it is data' },
};

/** Rooms that nobody may use, the composing ones included, unless they are named here. */
const entrances: Partial<Record<Room, readonly Room[]>> = {
  opening: ['app', 'cli'],
  main: [],
  cli: ['main'],
  'sample-services': ['cli'],
};

function roomOf(path: string): Room | undefined {
  return (Object.keys(rooms) as Room[]).find((room) => rooms[room].test(path));
}

/** What is wrong with an import, undefined when nothing is. */
function violation({ from, to, typeOnly }: SourceImport): string | undefined {
  const [user, used] = [roomOf(from), roomOf(to)];
  const text = `${from} imports ${to}`;
  if (user === undefined || used === undefined) return `${text}: one of them belongs to no room`;
  if (user === used) return undefined;
  const rule = mayUse[user];
  if (rule.rooms !== 'all' && !rule.rooms.includes(used))
    return `${text}: ${user} must not use ${used}, ${rule.because}`;
  const entrance = entrances[used];
  if (entrance && !entrance.includes(user))
    return `${text}: ${used} is open to ${entrance.join(' and ') || 'nobody'} only`;
  if (user === 'policy' && used === 'config' && !typeOnly) return `${text}: policy uses only the types of config`;
  return undefined;
}

test('imports go in the allowed directions only', async () => {
  const imports = await sourceImports('sidecar', 'sample-services');
  expect(imports.length).toBeGreaterThan(10);
  expect(imports.map(violation).filter((text) => text !== undefined)).toEqual([]);
});

describe('the rules themselves', () => {
  test.for([
    ['sidecar/model/call.ts', 'sidecar/config/schema.ts'],
    ['sidecar/policy/backoff.ts', 'sidecar/config/schema.ts'],
    ['sidecar/outbound/hold.ts', 'sidecar/inbound/attempt.ts'],
    ['sidecar/inbound/attempt.ts', 'sidecar/outbound/hold.ts'],
    ['sidecar/outbound/hold.ts', 'sidecar/broker/jetstream/streams.ts'],
    ['sidecar/outbound/hold.ts', 'sidecar/broker/open.ts'],
    ['sidecar/broker/sqlite/log.ts', 'sidecar/admin/server.ts'],
    ['sidecar/broker/sqlite/log.ts', 'sidecar/broker/jetstream/streams.ts'],
    ['sidecar/inbound/attempt.ts', 'sidecar/telemetry/log.ts'],
    ['sidecar/app.ts', 'sidecar/cli/run.ts'],
    ['sidecar/cli/run.ts', 'sidecar/main.ts'],
    ['sample-services/orders/server.ts', 'sidecar/http/headers.ts'],
    ['sidecar/http/headers.ts', 'test/support/latch.ts'],
  ])('%s must not import %s', ([from = '', to = '']) => {
    expect(violation({ from, to, typeOnly: false })).toContain(`${from} imports ${to}: `);
  });

  test.for([
    ['sidecar/outbound/hold.ts', 'sidecar/telemetry/channels.ts'],
    ['sidecar/outbound/hold.ts', 'sidecar/broker/port.ts'],
    ['sidecar/app.ts', 'sidecar/telemetry/log.ts'],
    ['sidecar/app.ts', 'sidecar/broker/open.ts'],
    ['sidecar/cli/demo.ts', 'sidecar/broker/sqlite/log.ts'],
  ])('%s may import %s', ([from = '', to = '']) => {
    expect(violation({ from, to, typeOnly: false })).toBeUndefined();
  });
});

test('imports are found in every form', () => {
  const source = `
import type { A } from './a.ts';
import b, {
  type B,
} from '../b.ts';
export * from './c.ts';
import './d.ts';
import fs from 'node:fs';
const e = await import('./e.ts');
`;
  expect(importsIn(source)).toEqual([
    { specifier: './a.ts', typeOnly: true },
    { specifier: '../b.ts', typeOnly: false },
    { specifier: './c.ts', typeOnly: false },
    { specifier: './d.ts', typeOnly: false },
    { specifier: './e.ts', typeOnly: false },
  ]);
});
