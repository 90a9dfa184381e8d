import { once } from 'node:events';
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { IdleLimit } from '../../../sidecar/outbound/idle-limit.ts';

test('a connection that rests is closed after the limit, one in use is not', async () => {
  const waiting: ServerResponse[] = [];
  const server = createServer((req, res) => {
    if (req.url === '/waits') waiting.push(res);
    else res.end('done');
  });
  server.keepAliveTimeout = 600_000;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const agent = new Agent({ keepAlive: true });
  const idle = new IdleLimit([agent], 40);
  onTestFinished(() => {
    idle.close();
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const ask = async (path: string): Promise<{ incoming: IncomingMessage; port: number | undefined }> => {
    const outgoing = request({ host: '127.0.0.1', port, path, agent }).end();
    const [incoming] = (await once(outgoing, 'response')) as [IncomingMessage];
    const { localPort } = incoming.socket;
    await once(incoming.resume(), 'end');
    return { incoming, port: localPort };
  };
  const [connected] = [once(server, 'connection') as Promise<[Socket]>];
  const inUse = ask('/waits');
  const [used] = await connected;

  const [rests] = [once(server, 'connection') as Promise<[Socket]>];
  const first = await ask('/');
  const [resting] = await rests;
  const closed = once(resting, 'close');
  expect((await ask('/')).port, 'it is used again').toBe(first.port);
  await closed;
  expect(used.destroyed).toBe(false);
  waiting[0]!.end('at last');
  expect((await inUse).port).toBe(used.remotePort);
});
