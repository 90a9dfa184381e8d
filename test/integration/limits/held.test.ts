import { describe, expect, test } from 'vitest';
import { type ClientResponse, request } from '../../support/http-client.ts';
import { startUpstream } from '../../support/upstream.ts';
import { MB, watchMemory } from './memory.ts';
import { scale } from './scale.ts';
import { brokers, holds, keepAskingReady, startSystem, type System } from './system.ts';

/** So many callers come at once: more than a listener's backlog would meet the kernel's limits and not Holdline's. */
const wave = 250;
/** What a caller that is held may cost its sidecar: connection, request, promises; bytes. */
const perHeld = 40 * 1024;
/** What a process may grow by under any load: heap that is collected later; bytes. */
const slack = 200 * MB;

const { held, timeout } = scale;

function call(system: System, token: string): Promise<ClientResponse> {
  return request('http://payments/charges', {
    method: 'POST',
    body: token,
    proxy: system.orders.outboundUrl,
    timeoutMs: timeout,
  });
}

describe.each(brokers)('on $name', ({ open }) => {
  test(
    `${held} callers are held, and no more: the others are refused and nothing of theirs is carried out`,
    { timeout },
    async () => {
      await using callee = await startUpstream(({ body }) => ({ status: 201, body }));
      await callee.down();
      await using system = await startSystem({ open, url: callee.url, outbound: { limits: { held } } });
      const memory = { orders: watchMemory(system.orders.pid), payments: watchMemory(system.payments.pid) };
      const vigil = keepAskingReady(system.orders, system.payments);

      const answers: Promise<ClientResponse>[] = [];
      while (answers.length < held) {
        for (let n = 0; n < wave && answers.length < held; n++) answers.push(call(system, `call ${answers.length}`));
        await holds(system.orders, answers.length, timeout);
      }

      const refused = await Promise.all(Array.from({ length: 20 }, (_, n) => call(system, `refused ${n}`)));
      for (const answer of refused) {
        expect(answer).toMatchObject({ status: 503, reason: 'Service Unavailable' });
        expect(answer.header('content-type')).toBe('application/problem+json');
        expect(answer.header('holdline-error')).toBe('overloaded');
        expect(answer.header('proxy-status')).toBe('holdline; error=connection_limit_reached');
        expect(answer.header('retry-after')).toBe('1');
        expect(answer.header('holdline-call-id')).toBeUndefined();
        expect(answer.header('location')).toBeUndefined();
        expect(answer.json()).toEqual({
          type: 'urn:holdline:problem:overloaded',
          title: 'Too many calls are held',
          status: 503,
          detail: `As much as limits.held (${held}) allows is held already; nothing was accepted.`,
        });
      }

      await callee.up();
      for (const [n, answer] of (await Promise.all(answers)).entries()) {
        expect([answer.status, answer.text]).toEqual([201, `call ${n}`]);
      }
      await holds(system.orders, 0);
      // What was freed is there for others, and what was refused was never stored: this one comes after it.
      expect(await call(system, 'after')).toMatchObject({ status: 201, text: 'after' });
      await vigil.end();
      const executed = callee.requests.map(({ body }) => body.toString());
      expect(executed.toSorted()).toEqual([...Array.from({ length: held }, (_, n) => `call ${n}`), 'after'].toSorted());

      expect(memory.orders.peak()).toBeLessThan(slack + held * perHeld);
      expect(memory.payments.peak()).toBeLessThan(slack);
    },
  );
});
