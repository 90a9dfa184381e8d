import { randomUUID } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import type { Publish } from './broadcast-history.ts';
import { cancel, type Door, lookUp, messageOf, publish, type Result, send } from './exchange.ts';
import { type Invoke, readHistory, record } from './history.ts';
import { attaches, isBroadcast, type Broadcast, type Task, taskOf } from './workload.ts';

/**
 * A caller: an application that sends its tasks, retries what has a key, and polls what was accepted. It writes down
 * each request before it is sent and each answer when it is there. Killed and started again it goes on as a restarted
 * application would: with the same keys and call ids, and without what it had no name for.
 *
 *     node caller.ts '{"name":"caller-1","seed":"1",…}'
 */
export interface CallerOptions {
  readonly name: string;
  readonly seed: string;
  readonly tasks: number;
  /** When the first task is due, ms since the epoch, and over how long the tasks are spread, ms. */
  readonly begin: number;
  readonly span: number;
  readonly doors: readonly Door[];
  readonly file: string;
  readonly ordered: boolean;
}

/** More than this at once are not begun, also when a caller catches up after it was dead. */
const atOnce = 48;

class Caller {
  readonly #options: CallerOptions;
  /** The last task of each order key: a caller that cares for order waits for one before it sends the next. */
  readonly #queues = new Map<string, Promise<void>>();

  constructor(options: CallerOptions) {
    this.#options = options;
  }

  async run(): Promise<void> {
    const { name, seed, tasks, begin, span, ordered } = this.#options;
    const past = this.#past();
    const running = new Set<Promise<void>>();
    for (let index = 0; index < tasks; index++) {
      const task = taskOf(seed, name, index, ordered);
      const known = past.get(task.token);
      if (known === 'done') continue;
      await pause(Math.max(0, begin + (index * span) / tasks - Date.now()));
      while (running.size >= atOnce) await Promise.race(running);
      const work = this.#carryOut(task, known);
      running.add(work);
      // A failure is rethrown by the wait below; here the task only leaves the set.
      const leave = () => running.delete(work);
      work.then(leave, leave);
    }
    await Promise.all(running);
  }

  /** What is known of tasks that an earlier life began: `done`, a call id to poll, or the wish to send again. */
  #past(): Map<string, string> {
    const past = new Map<string, string>();
    const exchanges = new Map<string, Invoke | Publish>();
    for (const event of readHistory(this.#options.file)) {
      if (event.type === 'invoke' || event.type === 'publish') {
        exchanges.set(event.exchange, event);
        if (!past.has(event.token)) past.set(event.token, attaches(event) ? 'again' : 'done');
      } else if (event.type === 'published') {
        exchanges.delete(event.exchange);
        past.set(event.token, 'done');
      } else if (event.type === 'accepted' || event.type === 'answered') {
        if (event.exchange !== undefined) exchanges.delete(event.exchange);
        if (event.token !== undefined) past.set(event.token, event.type === 'answered' ? 'done' : `call ${event.call}`);
      } else if (event.type === 'refused' || event.type === 'unknown') {
        exchanges.delete(event.exchange);
      }
    }
    for (const { token, exchange } of exchanges.values()) {
      record(this.#options.file, { type: 'unknown', at: Date.now(), token, exchange, detail: 'the caller was killed' });
    }
    return past;
  }

  async #carryOut(task: Task, known: string | undefined): Promise<void> {
    const { order } = task;
    if (isBroadcast(task)) return this.#publish(task);
    if (order === undefined) return this.#finish(task, known);
    const before = this.#queues.get(order.key);
    const sent = Promise.withResolvers<void>();
    this.#queues.set(order.key, sent.promise);
    await before;
    return this.#finish(task, known, sent.resolve);
  }

  /** @param onSent the task's order is settled now */
  async #finish(task: Task, known: string | undefined, onSent: () => void = () => undefined): Promise<void> {
    const { token } = task;
    if (known?.startsWith('call ')) {
      // Accepted in an earlier life: the next of its order key need not wait.
      onSent();
      return this.#poll(token, known.slice(5));
    }
    for (let tries = 1; ; tries++) {
      const result = await this.#exchange(task, this.#door());
      if (result.kind === 'answered') return onSent();
      if (result.kind === 'accepted' && (!attaches(task) || Math.random() < 0.5)) {
        onSent();
        if (task.work === 'cancelled') await this.#cancel(token, result.call);
        return this.#poll(token, result.call);
      }
      const again = attaches(task) || (result.kind === 'refused' && task.order !== undefined);
      if (!again) return onSent();
      await pause(Math.min(100 * 2 ** tries, 2_000) * (0.5 + Math.random()));
    }
  }

  /** One without a key is sent once, so that a refusal of it is proof that there is no such event. */
  async #publish(task: Broadcast): Promise<void> {
    const { token, key, topic } = task;
    const { file } = this.#options;
    for (let tries = 1; ; tries++) {
      const door = this.#door();
      const exchange = `${token}/${randomUUID().slice(0, 8)}`;
      const { digest } = messageOf(task);
      const keyed = key !== undefined && { key };
      record(file, { type: 'publish', at: Date.now(), token, exchange, via: door.name, topic, digest, ...keyed });
      const { kind, ...facts } = await publish(task, door);
      record(file, { type: kind, at: Date.now(), token, exchange, ...facts } as Parameters<typeof record>[1]);
      // Now and then once more, through whichever sidecar, though it is known to be stored.
      if (key === undefined || (kind === 'published' && Math.random() < 0.7)) return;
      await pause(Math.min(100 * 2 ** tries, 2_000) * (0.5 + Math.random()));
    }
  }

  async #exchange(task: Task, door: Door): Promise<Result> {
    const { token, work, idempotent, key, content, callback, deadline, order } = task;
    const { file } = this.#options;
    const exchange = `${token}/${randomUUID().slice(0, 8)}`;
    const asked = Date.now();
    record(file, {
      type: 'invoke',
      at: asked,
      token,
      exchange,
      via: door.name,
      work,
      idempotent,
      ...(key !== undefined && { key }),
      ...(content !== undefined && { content }),
      ...(callback !== undefined && { callback }),
      ...(deadline !== undefined && { deadline }),
      ...(order !== undefined && { order }),
    });
    const result = await send(task, door);
    const at = Date.now();
    if (result.kind === 'missing') {
      record(file, { type: 'refused', at, token, exchange, status: 404, code: 'call-unknown' });
    } else if (result.kind === 'answered') {
      const { call, answer } = result;
      record(file, { type: 'answered', at, asked, token, exchange, via: door.name, call, ...answer });
    } else {
      const { kind, ...facts } = result;
      record(file, { type: kind, at, token, exchange, ...facts } as Parameters<typeof record>[1]);
    }
    return result;
  }

  async #cancel(token: string, call: string): Promise<void> {
    await pause(Math.random() * 1_000);
    const door = this.#door();
    if ((await cancel(call, door)) === 'otherwise') return;
    record(this.#options.file, { type: 'cancelled', at: Date.now(), token, via: door.name, call });
  }

  async #poll(token: string, call: string): Promise<void> {
    for (;;) {
      const door = this.#door();
      const asked = Date.now();
      const result = await lookUp(call, door, Math.random() < 0.3 ? 2 : 0);
      const at = Date.now();
      const { file } = this.#options;
      if (result.kind === 'answered') {
        record(file, { type: 'answered', at, asked, token, via: door.name, ...result.answer, call: result.call });
        return;
      }
      if (result.kind === 'missing') {
        record(file, { type: 'missing', at, token, via: door.name, call });
        return;
      }
      await pause(200 + Math.random() * 800);
    }
  }

  #door(): Door {
    const { doors } = this.#options;
    return doors[Math.floor(Math.random() * doors.length)]!;
  }
}

await new Caller(JSON.parse(process.argv[2] ?? '{}') as CallerOptions).run();
