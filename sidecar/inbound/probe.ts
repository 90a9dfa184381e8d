import { request } from 'node:http';
import type { Socket } from 'node:net';
import type { InboundConfig } from '../config/config.ts';
import type { Connections } from './connections.ts';
import { describe } from './failure.ts';
import type { Target } from './target.ts';

/** What a probe found. `why` is for people. */
export type ProbeResult = { readonly up: true } | { readonly up: false; readonly why: string };

/**
 * Asks whether the service is there: with a health check by its answer (2xx), else by a connection, TLS included.
 * Always by a new connection, since one that exists says nothing of the next. Never rejects.
 *
 * @param limit ms for the answer of a health check
 */
export async function probe(
  target: Target,
  connections: Connections,
  health: InboundConfig['health'],
  limit: number,
): Promise<ProbeResult> {
  try {
    const connection = await connections.establish();
    if (health === undefined) {
      // The next attempt will want one.
      connections.restore(connection);
      return { up: true };
    }
    connections.engage(connection);
    const status = await ask(target, connection.socket, health.path, limit);
    if (status >= 200 && status < 300) return { up: true };
    return { up: false, why: `the health check ${health.path} answered ${status}` };
  } catch (error) {
    return { up: false, why: describe(error) };
  }
}

/** The status of a GET on this connection, which it uses up. */
function ask(target: Target, socket: Socket, path: string, limit: number): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const outgoing = request({
    createConnection: () => socket,
    path: target.prefix + path,
    headers: { Host: target.authority, Connection: 'close' },
  });
  const timer = setTimeout(() => outgoing.destroy(new Error(`no answer within ${limit} ms`)), limit);
  outgoing.on('response', (incoming) => {
    resolve(incoming.statusCode!);
    // The status says it all, and a body may be of any length.
    outgoing.destroy();
  });
  outgoing.on('error', (error) => reject(new Error(`the health check ${path} failed: ${describe(error)}`)));
  outgoing.on('close', () => {
    clearTimeout(timer);
    reject(new Error(`the health check ${path} got no answer`));
  });
  outgoing.end();
  return promise;
}
