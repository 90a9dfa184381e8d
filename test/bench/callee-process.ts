import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

let served = 0;

/** Answers with the body that it got: as little work as a service can do, so that the way to it is what is measured. */
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    const body = request.url === '/served' ? Buffer.from(String(served)) : Buffer.concat(chunks);
    if (request.method === 'POST') served++;
    response.writeHead(200, {
      'Content-Type': request.headers['content-type'] ?? 'text/plain',
      'Content-Length': body.length,
    });
    response.end(body);
  });
});
// A subject that rests while others are measured finds its connections open when its turn comes.
server.keepAliveTimeout = 600_000;
server.listen(0, '127.0.0.1', () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
