/** Takes orders: has `payments` charge them and tells `notifications` about the paid ones. */
import { readJson, router, sendJson, serve } from '../http-service.ts';
import { OrderBook } from './order-book.ts';
import type { Order } from './order-book.ts';

const paymentsUrl = baseUrl(process.env['PAYMENTS_URL'] ?? 'http://127.0.0.1:3002');
/** Not set: nobody is told. */
const notificationsUrl = baseUrl(process.env['NOTIFICATIONS_URL'] ?? '');

const orders = new OrderBook();
const callbacks: { at: string; headers: Record<string, string | string[] | undefined>; body: unknown }[] = [];

function baseUrl(text: string): string {
  return text.replace(/\/+$/, '');
}

function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });
}

async function readAnswer(answer: Response): Promise<Record<string, unknown>> {
  const text = await answer.text();
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return { text };
  }
}

/** A paid order stays paid when nobody could be told about it. */
async function tellNotifications(order: Order): Promise<void> {
  if (notificationsUrl === '') return;
  try {
    const answer = await post(`${notificationsUrl}/hooks/order-paid`, order);
    if (!answer.ok) console.error(`orders: notifications answered ${answer.status} for order ${order.id}`);
    await answer.body?.cancel();
  } catch (error) {
    console.error(
      `orders: notifications not reached for order ${order.id}: ${String((error as Error).cause ?? error)}`,
    );
  }
}

serve(
  'orders',
  3001,
  router({
    'POST /orders': async (request, response) => {
      const body = await readJson(request);
      const key = request.headers['idempotency-key'];
      const clientKey = typeof key === 'string' ? key : undefined;
      const order = orders.place(body, clientKey);
      if (order.status === 'paid') {
        sendJson(response, 201, order);
        return;
      }
      const charge = { orderId: order.id, customer: order.customer, amount: order.amount };
      let answer: Response;
      let payment: Record<string, unknown>;
      try {
        answer = await post(
          `${paymentsUrl}/charges`,
          charge,
          clientKey === undefined ? {} : { 'Idempotency-Key': clientKey },
        );
        payment = await readAnswer(answer);
      } catch (error) {
        const reason = String((error as Error).cause ?? error);
        sendJson(response, 502, { error: `payments not reached: ${reason}`, order });
        return;
      }
      if (!answer.ok) {
        sendJson(response, 502, { error: `payments answered ${answer.status}`, answer: payment, order });
        return;
      }
      if (answer.status === 202) {
        // A callback may have settled the order while this answer was on its way.
        if (order.status === 'unpaid') Object.assign(order, { status: 'pending', payment });
        sendJson(response, 201, order);
        return;
      }
      Object.assign(order, { status: 'paid', payment });
      await tellNotifications(order);
      sendJson(response, 201, order);
    },
    'GET /orders': (_request, response) => sendJson(response, 200, { orders: orders.all() }),
    'GET /orders/{id}': (_request, response, { id }) => sendJson(response, 200, orders.find(id ?? '')),
    'POST /charge-done': async (request, response) => {
      const body = await readJson(request);
      callbacks.push({ at: new Date().toISOString(), headers: { ...request.headers }, body });
      const settled = orders.settle(body);
      if (settled !== undefined) await tellNotifications(settled);
      response.writeHead(204).end();
    },
    'GET /charge-done': (_request, response) => sendJson(response, 200, { callbacks }),
    'GET /healthz': (_request, response) => sendJson(response, 200, { status: 'ok' }),
  }),
);
