import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createTlsServer, type Server, type TlsOptions } from 'node:tls';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { type Connection, Connections, isAlive } from '../../../sidecar/inbound/connections.ts';
import { Exchange } from '../../../sidecar/inbound/exchange.ts';
import { describe as inWords } from '../../../sidecar/inbound/failure.ts';
import { targetOf } from '../../../sidecar/inbound/target.ts';
import type { InboundConfig } from '../../../sidecar/config/config.ts';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { MemoryBodies } from '../memory-bodies.ts';
import { sampleAction } from '../policy/sample-action.ts';
import { answering, RawService } from './raw-service.ts';

const open: Connections[] = [];
const servers: Server[] = [];

afterEach(async () => {
  for (const connections of open.splice(0)) connections.destroy();
  for (const server of servers.splice(0)) {
    server.close();
    await once(server, 'close');
  }
});

function towards(url: string, tls?: NonNullable<InboundConfig['tls']>, connectLimit = 10_000) {
  const target = targetOf(tls === undefined ? { url } : { url, tls });
  const connections = new Connections(target, connectLimit);
  open.push(connections);
  const send = async (connection: Connection, method = 'POST') => {
    const limits = { timeout: 20_000, maxBody: 1_000, maxInlineBody: 1_000 };
    const exchange = new Exchange(
      sampleAction({ method }),
      1,
      { target, connections, connection, bodies: new MemoryBodies() },
      limits,
    );
    return exchange.observation;
  };
  return { connections, send };
}

/** The connection that rests, once the client has put it back. */
async function rested(connections: Connections): Promise<Connection> {
  return eventually(
    () => {
      const connection = connections.rested();
      if (connection === undefined) throw new Error('none rests');
      return connection;
    },
    { what: 'a connection at rest', intervalMs: 1 },
  );
}

const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const certificate = (name: string) => join(import.meta.dirname, 'certificates', name);

test.for(['127.0.0.1', 'localhost', '[::1]', '[::ffff:127.0.0.1]', '0x7f.1', '2130706433'])(
  'connections - an endpoint that must be public is not connected to at %s',
  async (host) => {
    await using service = await RawService.start(answering(ok));
    const url = `http://${host}:${service.port}`;
    const connections = new Connections(targetOf({ url, publicOnly: true }), 10_000);
    open.push(connections);
    await expect(connections.establish()).rejects.toThrow(/is not a public address; `allowPrivate: true`/);
    expect(service.received.join('')).toBe('');
  },
);

test('connections - one that served an answer serves the next', async () => {
  await using service = await RawService.start(answering(ok));
  const { connections, send } = towards(service.url);
  const first = await connections.establish();
  expect(first.fresh).toBe(true);
  await send(first);
  const second = await rested(connections);
  expect(second).toBe(first);
  expect(second.fresh).toBe(false);
  await send(second);
  expect(service.received).toHaveLength(1);
});

test('connections - listeners do not pile up on one that is used often', async () => {
  await using service = await RawService.start(answering(ok));
  const { connections, send } = towards(service.url);
  let connection = await connections.establish();
  const count = () =>
    connection.socket.eventNames().reduce((sum, name) => sum + connection.socket.listenerCount(name), 0);
  await send(connection);
  connection = await rested(connections);
  const once_ = count();
  for (let round = 0; round < 20; round++) {
    await send(connection);
    connection = await rested(connections);
  }
  expect(count()).toBe(once_);
});

test('connections - one that the service closed while it rested is not used, and trust shrinks', async () => {
  await using service = await RawService.start((socket) => {
    socket.once('data', () => {
      socket.write(ok);
      // Without a word in the answer that it would.
      setTimeout(() => socket.destroy(), 20);
    });
  });
  const { connections, send } = towards(service.url);
  const first = await connections.establish();
  await send(first);
  await eventually(() => expect(isAlive(first)).toBe(false), { what: 'the end of the resting connection' });
  expect(connections.rested()).toBeUndefined();
  const second = await connections.establish();
  await send(second);
  await once(second.socket, 'close');
  expect(connections.rested()).toBeUndefined();
});

test('connections - after a used one gave no answer the next ones serve once, until the service came back', async () => {
  await using service = await RawService.start(answering(ok));
  const { connections, send } = towards(service.url);
  connections.distrust();
  const first = await connections.establish();
  const given = once(first.socket, 'free');
  await send(first);
  await given;
  expect(isAlive(first)).toBe(false);
  connections.trust();
  const second = await connections.establish();
  await send(second);
  expect(await rested(connections)).toBe(second);
});

test('connections - what arrives unasked ends the connection and is nobody’s answer', async () => {
  await using service = await RawService.start((socket, received) => {
    socket.on('data', () => {
      if (received().endsWith('\r\n\r\n')) socket.write(ok);
    });
    socket.once('data', () => setImmediate(() => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged')));
  });
  const { connections, send } = towards(service.url);
  const first = await connections.establish();
  const closed = once(first.socket, 'close');
  expect(await send(first)).toMatchObject({ kind: 'answer' });
  await closed;
  expect(connections.rested()).toBeUndefined();
});

test('connections - old ones are closed by themselves', async () => {
  await using service = await RawService.start(answering(ok));
  const { connections, send } = towards(service.url);
  const connection = await connections.establish();
  await send(connection);
  await eventually(() => expect(service.connections).toBe(0), { what: 'the end of the resting connection' });
  expect(connections.rested()).toBeUndefined();
});

test.each(['Connection: close', 'Connection: x, close'])(
  'connections - one answered with "%s" is not kept',
  async (field) => {
    await using service = await RawService.start(
      answering(`HTTP/1.1 200 OK\r\n${field}\r\nContent-Length: 2\r\n\r\nok`),
    );
    const { connections, send } = towards(service.url);
    const connection = await connections.establish();
    await send(connection);
    await eventually(() => expect(isAlive(connection)).toBe(false), { what: 'its end', intervalMs: 1 });
    expect(connections.rested()).toBeUndefined();
  },
);

test('connections - the limit that the service names is heeded', async () => {
  await using service = await RawService.start(
    answering('HTTP/1.1 200 OK\r\nKeep-Alive: max=5, timeout=0\r\nContent-Length: 2\r\n\r\nok'),
  );
  const { connections, send } = towards(service.url);
  const connection = await connections.establish();
  const given = once(connection.socket, 'free');
  await send(connection);
  await given;
  expect(isAlive(connection)).toBe(false);
});

test('connections - retired: exchanges end, nothing rests; stopped: none is made', async () => {
  await using service = await RawService.start(answering(ok));
  const { connections, send } = towards(service.url);
  const first = await connections.establish();
  connections.retire();
  const closed = once(first.socket, 'close');
  expect(await send(first)).toMatchObject({ kind: 'answer' });
  await closed;
  const second = await connections.establish();
  connections.stop();
  expect(await send(second)).toMatchObject({ kind: 'answer' });
  await expect(connections.establish()).rejects.toThrow('the sidecar is stopping');
});

test('connections - one that cannot be made says why', async () => {
  const refused = towards(`http://127.0.0.1:${await freePort()}`);
  expect(inWords(await refused.connections.establish().catch((error: unknown) => error))).toBe(
    'connection refused (ECONNREFUSED)',
  );
  const unknown = towards('http://no-such-host.invalid');
  expect(inWords(await unknown.connections.establish().catch((error: unknown) => error))).toMatch(
    /ENOTFOUND|EAI_AGAIN/,
  );
});

test('connections - one that is being made ends with the stop', async () => {
  // TLS towards a service that never answers the handshake.
  await using service = await RawService.start(() => {});
  const { connections } = towards(service.url.replace('http:', 'https:'));
  const establishing = connections.establish();
  const outcome = expect(establishing).rejects.toThrow('the sidecar is stopping');
  await eventually(() => expect(service.received).toHaveLength(1), { what: 'the connection' });
  connections.stop();
  await outcome;
});

test('connections - a handshake that takes too long, or that the service breaks off, is no connection', async () => {
  await using silent = await RawService.start(() => {});
  const slow = towards(silent.url.replace('http:', 'https:'), {}, 100);
  await expect(slow.connections.establish()).rejects.toThrow('no connection within 100 ms');
  await using closing = await RawService.start((socket) => socket.once('data', () => socket.end()));
  await expect(towards(closing.url.replace('http:', 'https:')).connections.establish()).rejects.toThrow(/./);
});

async function tlsService(options: TlsOptions = {}): Promise<{ port: number; read: () => string }> {
  let text = '';
  const server = createTlsServer(
    { key: readFileSync(certificate('service.key')), cert: readFileSync(certificate('service.pem')), ...options },
    (socket) => {
      socket.on('error', () => {});
      socket.on('data', (data) => {
        text += data.toString('latin1');
        socket.write(ok);
      });
    },
  );
  servers.push(server);
  const port = await freePort();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { port, read: () => text };
}

test('TLS - the url names whom to trust, not the Host of the call', async () => {
  const { port, read } = await tlsService();
  const { connections, send } = towards(`https://127.0.0.1:${port}`, { ca: certificate('ca.pem') });
  expect(await send(await connections.establish())).toMatchObject({ kind: 'answer', answer: { status: 200 } });
  expect(read()).toContain('Host: payments\r\n');
  const named = towards(`https://127.0.0.1:${port}`, { ca: certificate('ca.pem'), servername: 'payments.test' });
  expect(await named.send(await named.connections.establish())).toMatchObject({ kind: 'answer' });
});

test('TLS - a certificate that is not trusted: nothing was sent', async () => {
  const { port, read } = await tlsService();
  const stranger = towards(`https://127.0.0.1:${port}`);
  await expect(stranger.connections.establish()).rejects.toThrow(/verify|certificate/);
  const misnamed = towards(`https://127.0.0.1:${port}`, { ca: certificate('ca.pem'), servername: 'orders.test' });
  await expect(misnamed.connections.establish()).rejects.toThrow(/altnames/);
  expect(read()).toBe('');
});

test('TLS - the own certificate is shown; without one nothing was sent, even where that shows late', async () => {
  const { port, read } = await tlsService({
    requestCert: true,
    rejectUnauthorized: true,
    ca: readFileSync(certificate('ca.pem')),
  });
  const url = `https://127.0.0.1:${port}`;
  const bare = towards(url, { ca: certificate('ca.pem') });
  const observed = await bare.connections
    .establish()
    .then(bare.send, (error: unknown) => ({ kind: 'not-sent', detail: inWords(error) }));
  expect(observed).toMatchObject({ kind: 'not-sent', detail: expect.stringContaining('CERTIFICATE_REQUIRED') });
  expect(read()).toBe('');
  const own = { ca: certificate('ca.pem'), cert: certificate('sidecar.pem'), key: certificate('sidecar.key') };
  const known = towards(url, own);
  expect(await known.send(await known.connections.establish())).toMatchObject({ kind: 'answer' });
});

test('target - a TLS file that is not there is named', () => {
  expect(() => targetOf({ url: 'https://127.0.0.1', tls: { ca: '/nowhere/ca.pem' } })).toThrow('/nowhere/ca.pem');
});
