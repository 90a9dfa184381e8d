import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, test } from 'vitest';
import { generate } from '../../bench/load.ts';

test.each([
  [1, 4],
  [10, 4],
  [101, 8],
])('a load of %i calls over %i connections is exactly so many', async (calls, connections) => {
  let served = 0;
  await using server = createServer((request, response) => {
    request.resume().on('end', () => {
      served++;
      response.end('done');
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const load = { port, path: '/', bodyBytes: 100, keyed: true, status: 200, connections };
  const measured = await generate({ ...load, warmUpMs: 0, measureMs: 3_600_000, calls });
  expect({ served, ...measured }).toMatchObject({ served: calls, total: calls, calls, failed: 0 });
  // Of the time that it took, and not of the hour that it might have taken.
  expect(measured.perSecond).toBeGreaterThan(calls / 3600);
});
