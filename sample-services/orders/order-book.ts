import { randomUUID } from 'node:crypto';
import { Refusal } from '../http-service.ts';

/** What a customer ordered and what became of its payment. */
export interface Order {
  id: string;
  customer: string;
  amount: number;
  status: 'unpaid' | 'pending' | 'paid';
  payment: Record<string, unknown> | undefined;
  createdAt: string;
}

/** All orders, in memory. A key that a customer's client sends finds its order again. */
export class OrderBook {
  readonly #orders = new Map<string, Order>();
  readonly #byKey = new Map<string, Order>();

  /**
   * The order for this request: the one already placed under `key`, else a new one.
   * @throws Refusal 400 when a field is missing, 422 when the key was used for another order.
   */
  place(body: Record<string, unknown>, key: string | undefined): Order {
    const { customer, amount } = body;
    if (typeof customer !== 'string' || customer === '') throw new Refusal(400, 'customer: a name is needed');
    if (typeof amount !== 'number' || !(amount > 0)) throw new Refusal(400, 'amount: a number above 0 is needed');
    const known = key === undefined ? undefined : this.#byKey.get(key);
    if (known !== undefined) {
      if (known.customer !== customer || known.amount !== amount) {
        throw new Refusal(422, 'this Idempotency-Key was used with another order');
      }
      return known;
    }
    const order: Order = {
      id: randomUUID(),
      customer,
      amount,
      status: 'unpaid',
      payment: undefined,
      createdAt: new Date().toISOString(),
    };
    this.#orders.set(order.id, order);
    if (key !== undefined) this.#byKey.set(key, order);
    return order;
  }

  /** @throws Refusal 404 when there is no such order. */
  find(id: string): Order {
    const order = this.#orders.get(id);
    if (order === undefined) throw new Refusal(404, `no order ${id}`);
    return order;
  }

  /** Notes a charge that was reported later, when it names an order of ours. */
  settle(charge: Record<string, unknown>): Order | undefined {
    const order = this.#orders.get(String(charge['orderId']));
    if (order === undefined || order.status === 'paid') return undefined;
    order.status = 'paid';
    order.payment = charge;
    return order;
  }

  /** Every order, oldest first. */
  all(): Order[] {
    return [...this.#orders.values()];
  }
}
