import { parseArgs } from 'node:util';
import { bulkCall, startBulkCallee } from '../integration/limits/bulk.ts';
import { watchMemory, MB } from '../integration/limits/memory.ts';
import { brokers, startSystem } from '../integration/limits/system.ts';

const help = `Large bodies through two sidecars, both ways at once: time, and the memory of both.

  npm run bench:bodies -- [--calls 20] [--size 100] [--broker JetStream|SQLite]

  --calls N    calls at the same time; default 20
  --size MB    size of each request and of each answer; default 100
  --broker B   only this one; default both
`;

const { values } = parseArgs({
  options: {
    calls: { type: 'string', default: '20' },
    size: { type: 'string', default: '100' },
    broker: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

async function measure(broker: (typeof brokers)[number], calls: number, size: number): Promise<void> {
  using callee = await startBulkCallee();
  await using system = await startSystem({
    open: broker.open,
    url: callee.url,
    route: { maxBody: '2GB' },
    inbound: { timeout: '30m' },
  });
  await bulkCall(system.orders.outboundUrl, 'warm up', MB);
  const memory = [system.orders, system.payments].map(({ pid }) => watchMemory(pid));
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: calls }, (_, n) => bulkCall(system.orders.outboundUrl, `${n}`, size)));
  const seconds = (performance.now() - startedAt) / 1000;
  const [caller, callees] = memory.map((process) => `${Math.round(process.top() / MB)} MB`);
  const rate = Math.round((2 * calls * size) / MB / seconds);
  console.log(
    `${broker.name}: ${calls} calls of ${size / MB} MB each way in ${seconds.toFixed(1)} s (${rate} MB/s); ` +
      `resident at most: caller's sidecar ${caller}, callee's ${callees}`,
  );
}

if (values.help) {
  process.stdout.write(help);
} else {
  for (const broker of brokers) {
    if (values.broker !== undefined && values.broker.toLowerCase() !== broker.name.toLowerCase()) continue;
    await measure(broker, Number(values.calls), Number(values.size) * MB);
  }
}
