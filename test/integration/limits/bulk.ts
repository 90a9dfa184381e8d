import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import { createServer, request, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';

/** As much of nothing special as a socket takes at once. */
const block = Buffer.alloc(64 * 1024, 'large bodies ');

/** So many bytes, never in memory as a whole; another beginning of each block for each seed. */
async function* bulk(size: number, seed: string, hash: Hash): AsyncGenerator<Buffer> {
  for (let left = size; left > 0; left -= block.length) {
    const part = Buffer.concat([Buffer.from(`${seed}:${left} `), block]).subarray(0, Math.min(left, block.length));
    hash.update(part);
    yield part;
  }
}

async function digest(message: IncomingMessage): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of message) hash.update(part as Buffer);
  return hash.digest('hex');
}

async function digestOf(size: number, seed: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const _ of bulk(size, seed, hash)) continue;
  return hash.digest('hex');
}

/**
 * One call to `payments` with bodies of `size` bytes both ways.
 * @throws Error unless both arrived as they were sent
 */
export async function bulkCall(outboundUrl: string, seed: string, size: number): Promise<void> {
  const { hostname, port } = new URL(outboundUrl);
  const headers = { Host: 'payments', 'Content-Length': size, 'X-Seed': seed };
  const outgoing = request({ host: hostname, port, method: 'POST', path: '/bulk', headers });
  const answered = once(outgoing, 'response') as Promise<[IncomingMessage]>;
  // Whoever is refused may be so before it has sent everything.
  answered.catch(() => undefined);
  const sent = createHash('sha256');
  for await (const part of bulk(size, seed, sent)) if (!outgoing.write(part)) await once(outgoing, 'drain');
  outgoing.end();
  const [answer] = await answered;
  if (answer.statusCode !== 200) throw new Error(`call ${seed}: ${answer.statusCode} ${await text(answer)}`);
  const got = await digest(answer);
  if (answer.headers['x-got'] !== sent.digest('hex')) throw new Error(`call ${seed}: another request arrived`);
  if (got !== (await digestOf(size, `answer ${seed}`))) throw new Error(`call ${seed}: another answer arrived`);
}

/** A callee that answers each bulk call with as many bytes as that had. */
export async function startBulkCallee(): Promise<{ readonly url: string } & Disposable> {
  const server = createServer((req, res) => {
    const seed = `answer ${req.headers['x-seed'] as string}`;
    const answer = async () => {
      res.setHeader('X-Got', await digest(req));
      const size = Number(req.headers['content-length']);
      res.setHeader('Content-Length', size);
      for await (const part of bulk(size, seed, createHash('sha256'))) {
        if (!res.write(part)) await once(res, 'drain');
      }
      res.end();
    };
    answer().catch((error: unknown) => res.destroy(error as Error));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    [Symbol.dispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}
