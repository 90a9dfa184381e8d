import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';

/** Listens without knowing HTTP, and shows what arrives. */
export async function startRawCallee(serve: (socket: Socket, received: () => string) => void) {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    let received = '';
    socket
      .setEncoding('latin1')
      .on('data', (data: string) => (received += data))
      .on('error', () => undefined);
    serve(socket, () => received);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  return {
    port,
    sockets,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
