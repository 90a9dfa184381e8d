/** Takes payments, and like most payment APIs honours `Idempotency-Key`: the same key is the same charge. */
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { readJson, Refusal, router, sendJson, serve } from '../http-service.ts';

interface Charge {
  id: string;
  orderId: string | undefined;
  customer: string;
  amount: number;
  createdAt: string;
}

/** Milliseconds between taking the money and saying so: the gap in which things go wrong. */
const answerDelay = Number(process.env['CHARGE_DELAY_MS'] ?? 0);

const charges: Charge[] = [];
const byKey = new Map<string, { request: string; charge: Charge }>();

function charge(body: Record<string, unknown>): Charge {
  const { orderId, customer, amount } = body;
  if (typeof customer !== 'string' || customer === '') throw new Refusal(400, 'customer: a name is needed');
  if (typeof amount !== 'number' || !(amount > 0)) throw new Refusal(400, 'amount: a number above 0 is needed');
  const taken: Charge = {
    id: `ch_${randomUUID()}`,
    orderId: typeof orderId === 'string' ? orderId : undefined,
    customer,
    amount,
    createdAt: new Date().toISOString(),
  };
  charges.push(taken);
  return taken;
}

function chargeOnce(key: string, body: Record<string, unknown>): Charge {
  const request = JSON.stringify(body);
  const known = byKey.get(key);
  if (known === undefined) {
    const taken = charge(body);
    byKey.set(key, { request, charge: taken });
    return taken;
  }
  if (known.request !== request) throw new Refusal(422, 'this Idempotency-Key was used with another request');
  return known.charge;
}

serve(
  'payments',
  3002,
  router({
    'POST /charges': async (request, response) => {
      const body = await readJson(request);
      const key = request.headers['idempotency-key'];
      const taken = typeof key === 'string' ? chargeOnce(key, body) : charge(body);
      if (answerDelay > 0) await delay(answerDelay);
      sendJson(response, 201, taken);
    },
    'GET /charges': (_request, response) => sendJson(response, 200, { charges }),
    'GET /charges/{id}': (_request, response, { id }) => {
      const found = charges.find((candidate) => candidate.id === id);
      if (found === undefined) throw new Refusal(404, `no charge ${id}`);
      sendJson(response, 200, found);
    },
    'GET /healthz': (_request, response) => sendJson(response, 200, { status: 'ok' }),
  }),
);
