import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ManagedProcess } from '../../support/managed-process.ts';
import { startPair, type Pair } from './pair.ts';

/** Programs as they are, told of the sidecar by the usual environment variables only (`sidecar/docs/interception.md`). */
const clients: Record<string, readonly string[]> = {
  curl: ['curl', '-sf', '-d', 'body', 'http://payments/charges'],
  'Python urllib': [
    'python3',
    '-c',
    'import urllib.request as u; print(u.urlopen("http://payments/charges", data=b"body").read().decode())',
  ],
  'Node http.request': [
    process.execPath,
    '-e',
    `require('node:http').request('http://payments/charges', { method: 'POST' }, (answer) => answer.pipe(process.stdout)).end('body')`,
  ],
};

function isThere(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

let pair: Pair;

beforeAll(async () => {
  pair = await startPair({ status: 201, body: 'paid' });
});

afterAll(async () => {
  await pair[Symbol.asyncDispose]();
});

async function run([command = '', ...args]: readonly string[]): Promise<ManagedProcess> {
  const proxy = pair.orders.outboundUrl;
  const env = {
    HTTP_PROXY: proxy,
    http_proxy: proxy,
    NO_PROXY: 'localhost,127.0.0.1',
    no_proxy: 'localhost,127.0.0.1',
    NODE_USE_ENV_PROXY: '1',
  };
  const client = await ManagedProcess.start({ label: command, command: '/usr/bin/env', args: [command, ...args], env });
  await client.exited;
  return client;
}

for (const [name, command] of Object.entries(clients)) {
  test.skipIf(!isThere(command[0]!))(`a call of ${name} is durable`, async () => {
    const before = pair.upstream.requests.length;
    const client = await run(command);
    expect({ out: client.stdout.trim(), err: client.stderr.replaceAll(/.*Warning.*\n?/g, '') }).toMatchObject({
      out: 'paid',
    });
    const received = pair.upstream.requests.slice(before);
    expect(received.map(({ method, target }) => `${method} ${target}`)).toEqual(['POST /charges']);
    expect(received[0]!.header('host')).toBe('payments');
    expect(received[0]!.header('holdline-caller')).toBe('orders');
    expect(received[0]!.body.toString()).toBe('body');
  });
}

test.skipIf(!isThere('git'))('git asks through the sidecar, too', async () => {
  const before = pair.upstream.requests.length;
  await run(['git', 'ls-remote', 'http://payments/shop.git']);
  const [first] = pair.upstream.requests.slice(before);
  expect(first).toMatchObject({ method: 'GET', target: '/shop.git/info/refs?service=git-upload-pack' });
  expect(first!.header('holdline-caller')).toBe('orders');
});

test('a call of Node fetch is durable at a port of its own; by HTTP_PROXY it would be a tunnel', async () => {
  const fetched = await run([
    process.execPath,
    '-e',
    `fetch('${pair.port}/charges', { method: 'POST', body: 'x' }).then((answer) => answer.text()).then(console.log)`,
  ]);
  expect(fetched.stdout.trim()).toBe('paid');
  expect(pair.upstream.requests.at(-1)!.header('holdline-caller')).toBe('orders');
});
