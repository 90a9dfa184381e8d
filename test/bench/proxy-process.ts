import { Agent, createServer, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createProxyServer } from 'http-proxy-3';

// Keep-alive on both sides, as anyone would set it up who looks at throughput; the default agent would do half as well.
const proxy = createProxyServer({
  target: process.argv[2] ?? '',
  agent: new Agent({ keepAlive: true, maxFreeSockets: 1024 }),
});
proxy.on('error', (error, _request, response) => {
  process.stderr.write(`${String(error)}\n`);
  if (response instanceof ServerResponse && !response.headersSent) response.writeHead(502).end();
});
const server = createServer((request, response) => proxy.web(request, response));
server.keepAliveTimeout = 600_000;
server.listen(0, '127.0.0.1', () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
