import { describe, expect, test } from 'vitest';
import { bulkCall, startBulkCallee } from './bulk.ts';
import { MB, watchMemory } from './memory.ts';
import { scale } from './scale.ts';
import { brokers, keepAskingReady, startSystem } from './system.ts';

/** What a sidecar may take, however large the bodies that go through it; bytes. */
const most = 300 * MB;

const { bulk, timeout } = scale;

describe.each(brokers)('on $name', ({ open }) => {
  test.for(bulk)(
    '$calls calls of $size bytes each way at once: all are whole, and no sidecar takes more than 300 MB',
    { timeout },
    async ({ calls, size }) => {
      using callee = await startBulkCallee();
      await using system = await startSystem({
        open,
        url: callee.url,
        route: { maxBody: '2GB' },
        inbound: { timeout: '10m' },
      });
      const memory = [system.orders, system.payments].map(({ pid }) => watchMemory(pid));
      const vigil = keepAskingReady(system.orders, system.payments);
      const url = system.orders.outboundUrl;
      await Promise.all(Array.from({ length: calls }, (_, n) => bulkCall(url, `call ${n}`, size)));
      await vigil.end();
      for (const sidecar of memory) expect(sidecar.top()).toBeLessThan(most);
    },
  );
});
