import { expect, test } from 'vitest';
import { request } from '../../support/http-client.ts';
import { createLatch } from '../../support/latch.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { startUpstream, type Handler } from '../../support/upstream.ts';

const customers = ['ann', 'ben', 'cleo', 'dan'];
const steps = 8;

test.each(['nats', 'sqlite'])(
  'on %s: two sidecars of a service, one of them killed: the calls of a customer run one after another, in order',
  async (engine) => {
    await using stack = new AsyncDisposableStack();
    const folder = stack.use(await createTempDir('order'));
    const broker = engine === 'nats' ? stack.use(await startNatsServer()).url : `sqlite:${folder.join('holdline.db')}`;

    const executed = new Map<string, number[]>();
    const running = new Map<string, number[]>();
    const overlaps: string[] = [];
    const stuck = createLatch();
    const isStuck = createLatch();
    const serve: Handler = async (received) => {
      const customer = received.header('x-customer')!;
      const step = Number(received.body.toString());
      const mine = running.get(customer) ?? [];
      running.set(customer, mine);
      // The same step may run on at the service when its sidecar was killed.
      if (mine.some((other) => other !== step)) overlaps.push(`${customer}: ${step} beside ${mine.join()}`);
      mine.push(step);
      if (customer === 'dan' && step === 0) {
        isStuck.open();
        await stuck.wait('the others to be done');
      }
      mine.splice(mine.indexOf(step), 1);
      if (step === 3 && received.header('holdline-attempt') === '1') return { status: 503 };
      const list = executed.get(customer) ?? [];
      executed.set(customer, list);
      list.push(step);
      return { status: 201, body: `${customer} ${step}` };
    };

    const orders = stack.use(
      await startSidecar({
        service: 'orders',
        broker,
        outbound: {
          routes: [
            {
              match: { host: 'payments' },
              idempotent: true,
              orderBy: 'header:x-customer',
              retry: { backoff: '50ms..100ms' },
            },
          ],
        },
      }),
    );
    const callees = [];
    for (let at = 0; at < 2; at++) {
      const upstream = stack.use(await startUpstream(serve));
      callees.push(stack.use(await startSidecar({ service: 'payments', broker, inbound: [{ url: upstream.url }] })));
    }

    const locations = new Map<string, string[]>();
    for (let step = 0; step < steps; step++) {
      await Promise.all(
        customers.map(async (customer) => {
          const accepted = await request('http://payments/steps', {
            method: 'POST',
            body: String(step),
            headers: { 'X-Customer': customer, Prefer: 'respond-async' },
            proxy: orders.outboundUrl,
          });
          expect(accepted.status).toBe(202);
          const list = locations.get(customer) ?? [];
          locations.set(customer, list);
          list.push(accepted.header('location')!);
        }),
      );
      if (step === steps / 2) await callees[1]!.kill9();
    }
    const answersOf = (customer: string) =>
      Promise.all(
        locations.get(customer)!.map(async (location) => {
          const answer = await request(`${orders.outboundUrl}${location}`, { headers: { Prefer: 'wait=40' } });
          return `${answer.status} ${answer.text}`;
        }),
      );
    await isStuck.wait('the first call of dan');
    // A customer whose first call takes long holds up no other.
    for (const customer of ['ann', 'ben', 'cleo']) {
      expect(await answersOf(customer)).toEqual(Array.from({ length: steps }, (_, step) => `201 ${customer} ${step}`));
    }
    expect(executed.get('dan')).toBeUndefined();
    stuck.open();
    expect(await answersOf('dan')).toEqual(Array.from({ length: steps }, (_, step) => `201 dan ${step}`));

    expect(overlaps).toEqual([]);
    for (const list of executed.values()) {
      const firsts = [...new Set(list)];
      expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
    }
  },
);
