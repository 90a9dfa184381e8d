import { Agent } from 'node:http';
import { describe, expect, test } from 'vitest';
import { eventually } from '../../support/eventually.ts';
import { type ClientResponse, request, type RequestOptions } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { startUpstream } from '../../support/upstream.ts';
import { MB, watchMemory } from './memory.ts';
import { scale } from './scale.ts';
import { brokers, keepAskingReady, startSystem } from './system.ts';

const { waiting, timeout } = scale;
const concurrency = 16;
/** Calls per second: all of them take far longer than without a rate. */
const rate = scale.rate;
/** Health checks: pauses of 100 ms that double to two seconds while red, once per interval when green. */
const interval = 500;
/** What a process may grow by: nothing of a call that waits is in a sidecar's memory; bytes. */
const slack = 200 * MB;

/** Does something for each number below `count`, some at a time. */
async function forEach<T>(count: number, work: (n: number) => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async () => {
    for (let n = next++; n < count; n = next++) results[n] = await work(n);
  };
  await Promise.all(Array.from({ length: 64 }, worker));
  return results;
}

describe.each(brokers)('on $name', ({ open }) => {
  test(
    `${waiting} calls wait for a callee that is down, and are then delivered at its pace, each once`,
    { timeout },
    async () => {
      const herd = createLatch();
      let healthy = false;
      const probes: number[] = [];
      let running = 0;
      let most = 0;
      await using callee = await startUpstream(async ({ target, body }) => {
        if (target === '/healthz') {
          probes.push(performance.now());
          return { status: healthy ? 200 : 503 };
        }
        most = Math.max(most, ++running);
        // The first ones do not end before it is seen how many come.
        await herd.wait('the herd to be counted', timeout);
        running--;
        return { status: 201, body };
      });
      const health = { path: '/healthz', interval: `${interval}ms` };
      await using system = await startSystem({
        open,
        url: callee.url,
        route: { mode: 'async' },
        inbound: { concurrency, rate: `${rate}/s`, timeout: '5m', health },
      });
      const memory = { orders: watchMemory(system.orders.pid), payments: watchMemory(system.payments.pid) };
      const vigil = keepAskingReady(system.orders, system.payments);
      const agent = new Agent({ keepAlive: true });
      const ask = (url: string, options: RequestOptions): Promise<ClientResponse> =>
        request(url, { agent, timeoutMs: timeout, ...options });

      const accepted = await forEach(waiting, (n) =>
        ask('http://payments/charges', { method: 'POST', body: `call ${n}`, proxy: system.orders.outboundUrl }),
      );
      expect(new Set(accepted.map(({ status }) => status))).toEqual(new Set([202]));

      // Red for six probes more: however many wait, the service is asked once in two seconds and not once for each call.
      const asked = probes.length;
      await eventually(() => expect(probes.length).toBeGreaterThanOrEqual(asked + 2), { what: 'two more probes' });
      const redFor = probes.at(-1)! - probes[0]!;
      expect(probes.length).toBeLessThanOrEqual(7 + redFor / 2_000);
      expect(callee.requests.every(({ target }) => target === '/healthz')).toBe(true);

      healthy = true;
      const greenAt = performance.now();
      const calls = () => callee.requests.filter(({ target }) => target !== '/healthz');
      await eventually(() => expect(running).toBe(concurrency), { what: 'the first calls to arrive' });
      // Whatever else was sent after it would be there by now.
      const before = probes.length;
      await eventually(() => expect(probes.length).toBeGreaterThan(before + 1), { what: 'two health checks' });
      expect(calls()).toHaveLength(concurrency);
      const startedAt = performance.now();
      herd.open();
      await eventually(() => expect(calls()).toHaveLength(waiting), {
        what: 'all calls to arrive',
        timeoutMs: timeout,
      });
      const took = performance.now() - startedAt;

      expect(most).toBe(concurrency);
      // A wait is never shorter than asked for, so this holds on a slow machine, too.
      expect(took).toBeGreaterThan((1_000 * (waiting - 2 * concurrency)) / rate - 500);
      expect(probes.length - asked - 1).toBeLessThanOrEqual(3 + (performance.now() - greenAt) / interval);

      const locations = accepted.map((answer) => system.orders.outboundUrl + answer.header('location'));
      const answers = await forEach(waiting, (n) => ask(locations[n]!, { headers: { Prefer: 'wait=60' } }));
      for (const [n, answer] of answers.entries()) expect([answer.status, answer.text]).toEqual([201, `call ${n}`]);
      agent.destroy();
      await vigil.end();

      // Guarded calls: what is executed twice here is executed twice for good.
      const executed = calls().map(({ body }) => body.toString());
      expect(executed).toHaveLength(waiting);
      expect(new Set(executed).size).toBe(waiting);
      expect(new Set(calls().map((received) => received.header('holdline-attempt')))).toEqual(new Set(['1']));
      expect(memory.orders.peak()).toBeLessThan(slack);
      expect(memory.payments.peak()).toBeLessThan(slack);
    },
  );
});
