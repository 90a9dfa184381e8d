import { randomUUID } from 'node:crypto';
import { Narrator } from './narrator.ts';
import { eventually, setStage, type Stage } from './stage.ts';

/** How long payments takes to answer in the later parts, ms: time enough to kill somebody in the middle of a call. */
const CHARGE_DELAY = 1_500;

interface Order {
  readonly id: string;
  readonly status: string;
  readonly payment?: { readonly id: string };
}

/** Plays the story on a stage. */
class Story {
  readonly #stage: Stage;
  readonly #tell: Narrator;

  constructor(stage: Stage, narrator: Narrator) {
    this.#stage = stage;
    this.#tell = narrator;
  }

  /** Places an order with the unchanged `orders` service, as its own customers would. */
  async #order(customer: string, key?: string): Promise<{ status: number; order: Order; ms: number }> {
    const start = performance.now();
    const answer = await fetch(`${this.#stage.urls.orders}/orders`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', ...(key !== undefined && { 'Idempotency-Key': key }) },
      body: JSON.stringify({ customer, amount: 42 }),
    });
    return { status: answer.status, order: (await answer.json()) as Order, ms: performance.now() - start };
  }

  async #charges(): Promise<{ id: string }[]> {
    const answer = await fetch(`${this.#stage.urls.payments}/charges`);
    return ((await answer.json()) as { charges: { id: string }[] }).charges;
  }

  async #held(): Promise<number> {
    const answer = await fetch(`${this.#stage.urls.ordersAdmin}/ready`);
    return ((await answer.json()) as { outbound: { held: number } }).outbound.held;
  }

  /** Resolves when one call is held by orders' sidecar. */
  async #untilHeld(): Promise<void> {
    await eventually("a call held by orders' sidecar", async () => (await this.#held()) === 1);
  }

  async plain(): Promise<string> {
    this.#tell.event('a customer orders; orders calls payments as it always did, and does not know of Holdline');
    const { status, order, ms } = await this.#order('alice');
    this.#tell.check(
      status === 201 && order.status === 'paid',
      `the order is ${order.status} (${status}) after ${Math.round(ms)} ms`,
    );
    this.#tell.check((await this.#charges()).length === 1, 'payments took one charge');
    return `answered in ${Math.round(ms)} ms`;
  }

  async calleeDown(): Promise<string> {
    await this.#stage.payments.kill();
    this.#tell.fault('payments is killed (kill -9)');
    const pending = this.#order('bob');
    await this.#untilHeld();
    this.#tell.event("bob orders all the same; orders' sidecar has stored the call and holds the connection");
    await this.#stage.payments.start({ CHARGE_DELAY_MS: String(CHARGE_DELAY) });
    this.#tell.event('payments is back, with an empty memory and slower than before');
    const { status, order, ms } = await pending;
    this.#tell.check(
      status === 201 && order.status === 'paid',
      `bob's order is ${order.status} (${status}), held for ${(ms / 1000).toFixed(1)} s`,
    );
    this.#tell.check((await this.#charges()).length === 1, 'payments took his charge once');
    return `held for ${(ms / 1000).toFixed(1)} s, then answered`;
  }

  async calleeSidecarKilled(): Promise<string> {
    const before = (await this.#charges()).length;
    const pending = this.#order('carol');
    await eventually('payments to work on the charge', async () => (await this.#charges()).length > before);
    await this.#stage.paymentsSidecar.kill();
    this.#tell.fault(
      "payments' sidecar is killed (kill -9) in the middle of the call: the charge is taken, its answer is lost",
    );
    await this.#stage.paymentsSidecar.start();
    this.#tell.event(
      "payments' sidecar is back; it finds the call on the broker and asks again, with the same Idempotency-Key",
    );
    const { status, order, ms } = await pending;
    this.#tell.check(
      status === 201 && order.status === 'paid',
      `carol's order is ${order.status} (${status}) after ${(ms / 1000).toFixed(1)} s`,
    );
    this.#tell.check((await this.#charges()).length === before + 1, 'payments took her charge once');
    return `answered after ${(ms / 1000).toFixed(1)} s, charged once`;
  }

  async callerSidecarKilled(): Promise<string> {
    const before = (await this.#charges()).length;
    const key = randomUUID();
    const first = this.#order('dave', key);
    await eventually('payments to work on the charge', async () => (await this.#charges()).length > before);
    await this.#stage.ordersSidecar.kill();
    this.#tell.fault("orders' sidecar is killed (kill -9) while it holds the call");
    const failed = await first;
    this.#tell.event(`dave's order fails (${failed.status}): the connection that waited for the answer is gone`);
    await this.#stage.ordersSidecar.start();
    const retry = await this.#order('dave', key);
    this.#tell.event(`orders' sidecar is back, and dave tries again with the same key`);
    this.#tell.check(
      retry.status === 201 && retry.order.status === 'paid',
      `his order is ${retry.order.status} (${retry.status}): the answer was on the broker`,
    );
    this.#tell.check((await this.#charges()).length === before + 1, 'payments took his charge once');
    return `the retry was answered in ${Math.round(retry.ms)} ms, charged once`;
  }

  /** Ids of the orders that notifications has been told of. */
  async #toldOf(): Promise<string[]> {
    const answer = await fetch(`${this.#stage.urls.notifications}/received`);
    const { received } = (await answer.json()) as { received: { body: { id: string } }[] };
    return received.map(({ body }) => body.id);
  }

  async #paid(): Promise<string[]> {
    const answer = await fetch(`${this.#stage.urls.orders}/orders`);
    const { orders } = (await answer.json()) as { orders: Order[] };
    return orders.filter(({ status }) => status === 'paid').map(({ id }) => id);
  }

  async broadcast(): Promise<string> {
    const paid = await this.#paid();
    await eventually('notifications to be told of every order so far', async () => {
      const told = await this.#toldOf();
      return paid.every((id) => told.includes(id));
    });
    this.#tell.event(
      `each of the ${paid.length} orders so far was published as an event; notifications was told of all`,
    );
    await this.#stage.notifications.kill();
    this.#tell.fault('notifications, which has subscribed to paid orders, is killed (kill -9)');
    const { status, order, ms } = await this.#order('erin');
    this.#tell.check(
      status === 201 && order.status === 'paid',
      `erin's order is ${order.status} (${status}) after ${Math.round(ms)} ms: orders does not wait for subscribers`,
    );
    await this.#stage.notifications.start();
    this.#tell.event('notifications is back, with an empty memory');
    await eventually('notifications to be told of the order', async () => (await this.#toldOf()).length > 0);
    this.#tell.check(
      (await this.#toldOf()).includes(order.id),
      'it is told of the order that was paid while it was down',
    );
    const next = await this.#order('frank');
    await eventually('notifications to be told of the next order', async () =>
      (await this.#toldOf()).includes(next.order.id),
    );
    const told = await this.#toldOf();
    this.#tell.check(told.length === 2 && new Set(told).size === 2, 'and of the next one, of each once');
    return 'a subscriber that was down had its event when it came back';
  }
}

/**
 * Starts the sample services, their sidecars and a broker on this machine, and plays the story with checks.
 * @returns true when every step held
 */
export async function playDemo(options: {
  broker?: string;
  wait: boolean;
  write: (line: string) => void;
}): Promise<boolean> {
  const narrator = new Narrator(options.write);
  const stage = await setStage(options.broker);
  try {
    const { orders, payments, notifications, urls, configs, broker } = stage;
    narrator.event(`starting orders, payments, notifications, and a sidecar next to each; the broker is ${broker}`);
    const { ordersSidecar, paymentsSidecar, notificationsSidecar } = stage;
    const actors = [orders, payments, notifications, ordersSidecar, paymentsSidecar, notificationsSidecar];
    await Promise.all(actors.map((actor) => actor.start()));
    const story = new Story(stage, narrator);
    await narrator.chapter('an ordinary order', () => story.plain());
    await narrator.chapter('payments is down', () => story.calleeDown());
    await narrator.chapter("payments' sidecar dies in the middle of a call", () => story.calleeSidecarKilled());
    await narrator.chapter("orders' sidecar dies while it holds a call", () => story.callerSidecarKilled());
    await narrator.chapter('a broadcast, and a subscriber that is down', () => story.broadcast());
    const held = narrator.summary();
    narrator.say('');
    narrator.say(
      held
        ? 'Every order was answered, nobody was charged twice, and every subscriber was told.'
        : 'Not every promise held; see above.',
    );
    if (options.wait && held) {
      narrator.say(`
Everything is still running. The page of orders' sidecar shows who calls whom, and every call:
  ${urls.ordersAdmin}/
Try, in another terminal:
  curl -i -X POST ${urls.orders}/orders -H 'Content-Type: application/json' -d '{"customer":"you","amount":1}'
  node_modules/.bin/node sidecar/main.ts calls list --config ${configs.orders}
  curl -s ${urls.ordersAdmin}/ready
  node_modules/.bin/node sidecar/main.ts topology --config ${configs.orders}
Ctrl+C ends it.`);
      await untilInterrupted();
    } else {
      narrator.say(
        `The page of orders' sidecar was at ${urls.ordersAdmin}/ as long as this ran.\n` +
          'Try `npm run demo` to keep everything running and look around, and README.md for your own services.',
      );
    }
    return held;
  } finally {
    await stage.strike();
  }
}

function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    // A pending promise alone does not keep a process alive.
    const alive = setInterval(() => undefined, 60_000);
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        clearInterval(alive);
        resolve();
      });
    }
  });
}
