import { decodeAction } from '../../model/codec.ts';
import type { Context } from './context.ts';
import { withdraw } from './withdrawal.ts';

const TICK = 500;
/** Messages read per tick at most, and withdrawn per question to the sidecars. */
const READ_PER_TICK = 1_000;
const WITHDRAWN_AT_ONCE = 500;
/** After this an overdue call that somebody was working on is asked for again, ms. */
const ASK_AGAIN = 5_000;

/**
 * Ends calls whose deadline passes while nobody takes them: the service is down, or all slots are busy for long.
 *
 * It walks the stream once, remembering id and deadline of each message, and goes on where it was as new ones come. Its own
 * means are only reading and `withdraw`, which asks every sidecar first, so it never ends a call that somebody is working on.
 */
export class OverdueWatch {
  readonly #context: Context;
  readonly #service: string;
  readonly #waiting = new Map<string, { caller: string; deadline: number }>();
  #nextSeq = 1;
  #timer: NodeJS.Timeout | undefined;
  #walking = false;
  #busyTicks = 0;

  constructor(context: Context, service: string) {
    this.#context = context;
    this.#service = service;
  }

  start(): void {
    if (this.#timer !== undefined) return;
    this.#waiting.clear();
    this.#nextSeq = 1;
    this.#timer = setInterval(() => {
      this.#tick().catch(this.#context.report);
    }, TICK);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#busyTicks = 0;
    this.#waiting.clear();
  }

  /** Called now and then while calls are taken: a service that is busy for long keeps calls waiting, too. */
  whileBusy(busy: boolean): void {
    this.#busyTicks = busy ? this.#busyTicks + 1 : 0;
    if (this.#busyTicks >= 2) this.start();
    else if (!busy) this.stop();
  }

  async #tick(): Promise<void> {
    if (this.#walking || !this.#context.connection.connected) return;
    this.#walking = true;
    try {
      await this.#walk();
      await this.#end();
    } catch (error) {
      if (this.#context.connection.connected && !this.#context.closing.aborted) this.#context.report(error as Error);
    } finally {
      this.#walking = false;
    }
  }

  async #walk(): Promise<void> {
    const { lookup, subjects } = this.#context;
    const stream = subjects.actionStream(this.#service);
    for (let read = 0; read < READ_PER_TICK && this.#timer !== undefined; read++) {
      const stored = await lookup.at(stream, this.#nextSeq, true);
      if (stored === undefined) return;
      this.#nextSeq = stored.seq + 1;
      const { id, caller, deadline } = decodeAction(stored.data);
      this.#waiting.set(id, { caller, deadline });
    }
  }

  async #end(): Promise<void> {
    const now = Date.now();
    const overdue: { callee: string; caller: string; id: string }[] = [];
    for (const [id, { caller, deadline }] of this.#waiting) {
      if (deadline > now) continue;
      overdue.push({ callee: this.#service, caller, id });
      if (overdue.length >= WITHDRAWN_AT_ONCE) break;
    }
    if (overdue.length === 0) return;
    // Should this fail, they are still known and asked for again.
    const results = await withdraw(this.#context, overdue, 'deadline-exceeded');
    for (const { id, caller } of overdue) {
      if (results.get(id) === 'started') this.#waiting.set(id, { caller, deadline: now + ASK_AGAIN });
      else this.#waiting.delete(id);
    }
  }
}
