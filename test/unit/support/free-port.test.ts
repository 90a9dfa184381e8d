import { createServer } from 'node:net';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { freePort } from '../../support/free-port.ts';

test('no port is handed out twice, and all are outside of the ephemeral range', async () => {
  const ports = await Promise.all(Array.from({ length: 200 }, () => freePort()));
  expect(new Set(ports).size).toBe(200);
  const ephemeral = createServer().listen(0, '127.0.0.1');
  await once(ephemeral, 'listening');
  const address = ephemeral.address();
  ephemeral.close();
  if (address === null || typeof address === 'string') throw new TypeError('not a TCP address');
  expect(Math.max(...ports)).toBeLessThan(address.port);
});
