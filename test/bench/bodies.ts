import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { watchMemory, MB } from '../integration/limits/memory.ts';
import { brokers, startSystem } from '../integration/limits/system.ts';

const help = `Large bodies through two sidecars, both ways at once: time, and the memory of both.

  npm run bench:bodies -- [--calls 20] [--size 100] [--broker JetStream|SQLite]

  --calls N    calls at the same time; default 20
  --size MB    size of each request and of each answer; default 100
  --broker B   only this one; default both
`;

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '20' },
    size: { type: 'string', default: '100' },
    broker: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

/** As much of nothing special as a socket takes at once; another beginning for each call and direction. */
const block = Buffer.alloc(64 * 1024, 'large bodies ');

async function* body(size: number, seed: string, hash: Hash): AsyncGenerator<Buffer> {
  for (let left = size; left > 0; left -= block.length) {
    const part = left < size ? block : Buffer.concat([Buffer.from(seed), block.subarray(seed.length)]);
    const sent = part.subarray(0, left);
    hash.update(sent);
    yield sent;
  }
}

async function digest(message: IncomingMessage): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of message) hash.update(part as Buffer);
  return hash.digest('hex');
}

/** One call; both digests must be those of what was sent. */
async function call(url: string, seed: string, size: number): Promise<void> {
  const { hostname, port } = new URL(url);
  const headers = { Host: 'payments', 'Content-Length': size, 'X-Seed': seed };
  const outgoing = request({ host: hostname, port, method: 'POST', path: '/large', headers });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  const sent = createHash('sha256');
  for await (const part of body(size, seed, sent)) if (!outgoing.write(part)) await once(outgoing, 'drain');
  outgoing.end();
  const [answer] = await answered;
  if (answer.statusCode !== 200) throw new Error(`call ${seed}: ${answer.statusCode} ${await text(answer)}`);
  const got = await digest(answer);
  if (answer.headers['x-got'] !== sent.digest('hex')) throw new Error(`call ${seed}: another request arrived`);
  const expected = createHash('sha256');
  for await (const _ of body(size, `answer ${seed}`, expected)) continue;
  if (got !== expected.digest('hex')) throw new Error(`call ${seed}: another answer arrived`);
}

/** Answers each request with as many bytes as that had. */
async function startCallee() {
  const server = createServer((req, res) => {
    const seed = `answer ${req.headers['x-seed'] as string}`;
    const answer = async () => {
      res.setHeader('X-Got', await digest(req));
      const size = Number(req.headers['content-length']);
      res.setHeader('Content-Length', size);
      const hash = createHash('sha256');
      for await (const part of body(size, seed, hash)) if (!res.write(part)) await once(res, 'drain');
      res.end();
    };
    answer().catch((error: unknown) => res.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, [Symbol.dispose]: () => void server.close() };
}

async function measure(broker: (typeof brokers)[number], calls: number, size: number): Promise<void> {
  using callee = await startCallee();
  await using system = await startSystem({
    open: broker.open,
    url: callee.url,
    route: { maxBody: '2GB' },
    inbound: { timeout: '30m' },
  });
  await call(system.orders.outboundUrl, 'warm up', MB);
  const memory = [system.orders, system.payments].map(({ pid }) => watchMemory(pid));
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: calls }, (_, n) => call(system.orders.outboundUrl, `${n}`, size)));
  const seconds = (performance.now() - startedAt) / 1000;
  const [caller, callees] = memory.map((process) => `${Math.round(process.top() / MB)} MB`);
  const rate = Math.round((2 * calls * size) / MB / seconds);
  console.log(
    `${broker.name}: ${calls} calls of ${size / MB} MB each way in ${seconds.toFixed(1)} s (${rate} MB/s); ` +
      `resident at most: caller's sidecar ${caller}, callee's ${callees}`,
  );
}

if (values.help) {
  process.stdout.write(help);
} else {
  for (const broker of brokers) {
    if (values.broker !== undefined && values.broker.toLowerCase() !== broker.name.toLowerCase()) continue;
    await measure(broker, Number(values.calls), Number(values.size) * MB);
  }
}
