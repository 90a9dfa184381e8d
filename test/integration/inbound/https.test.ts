import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { freePort } from '../../support/free-port.ts';
import { request } from '../../support/http-client.ts';
import { brokers, startSystem, type System } from '../limits/system.ts';

const file = (name: string) => join(import.meta.dirname, '../../unit/inbound/certificates', name);
const own = { ca: file('ca.pem'), cert: file('sidecar.pem'), key: file('sidecar.key') };
/** The certificate of the service is for this name, besides 127.0.0.1. */
const named = 'payments.test';

const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

/** A service of somebody else that takes only those that it knows, and tells what it saw of them. */
async function startOutside() {
  const port = await freePort();
  const seen: { name: string | false; subject: string; attempt: string; host: string }[] = [];
  const refused: Error[] = [];
  const server = createServer(
    {
      key: readFileSync(file('service.key')),
      cert: readFileSync(file('service.pem')),
      ca: readFileSync(file('ca.pem')),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (req, res) => {
      const socket = req.socket as TLSSocket & { servername: string | false };
      seen.push({
        name: socket.servername,
        subject: String(socket.getPeerCertificate().subject.CN),
        attempt: String(req.headers['holdline-attempt']),
        host: String(req.headers.host),
      });
      req.resume();
      res.end(`at ${req.url}`);
    },
  );
  server.on('tlsClientError', (error) => refused.push(error));
  servers.push(server);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return { url: `https://127.0.0.1:${port}/v1`, seen, refused };
}

const charge = (system: System, headers: Record<string, string> = {}) =>
  request('http://payments/charges?a', { method: 'POST', body: '5', proxy: system.orders.outboundUrl, headers });

describe('an outside API behind an https url', () => {
  test('is asked by its own name and sees the own certificate; the call is durable like any other', async () => {
    const outside = await startOutside();
    await using system = await startSystem({
      open: brokers[0]!.open,
      url: outside.url,
      inbound: { tls: { ...own, servername: named } },
    });
    const answer = await charge(system);
    expect([answer.status, answer.text]).toEqual([200, 'at /v1/charges?a']);
    expect(answer.header('holdline-call-id')).toBeDefined();
    const subject = expect.any(String) as string;
    expect(outside.seen).toEqual([{ name: named, subject, attempt: '1', host: 'payments' }]);
  });

  test.for([
    ['its authority is not trusted', { cert: own.cert, key: own.key }, 'SELF_SIGNED_CERT_IN_CHAIN'],
    ['its certificate is for another name', { ...own, servername: 'orders.test' }, 'altnames'],
    ['it does not take us without a certificate', { ca: own.ca }, 'CERTIFICATE_REQUIRED'],
  ] as const)('%s: nothing was sent, and the call is made when that is mended', async ([, tls, why]) => {
    const outside = await startOutside();
    await using system = await startSystem({ open: brokers[1]!.open, url: outside.url, inbound: { tls } });
    const held = await charge(system, { Prefer: 'wait=2', 'Idempotency-Key': 'once' });
    expect([held.status, held.header('holdline-error')]).toEqual([504, 'hold-expired']);
    await eventually(() => expect(system.payments.logs).toContain(why), { what: 'the sidecar to say why' });
    expect(outside.seen).toEqual([]);
    await system.payments.configure({
      service: 'payments',
      broker: system.broker,
      inbound: [{ url: outside.url, tls: own }],
    });
    system.payments.reload();
    const answer = await charge(system, { 'Idempotency-Key': 'once' });
    expect([answer.status, answer.text]).toEqual([200, 'at /v1/charges?a']);
    // None of the tries before has cost an attempt.
    expect(outside.seen).toMatchObject([{ attempt: '1' }]);
  });
});
