import type { Context } from './context.ts';
import { ask, type ControlReply } from './control.ts';
import type { JetStreamLease } from './lease.ts';

/** The other live sidecars of a callee, as far as they can be reached. */
export class Colleagues {
  readonly #context: Context;
  readonly #service: string;

  constructor(context: Context, service: string) {
    this.#context = context;
    this.#service = service;
  }

  /** Whether this one of them is alive and still has the call in hand. */
  async has(id: string, instance: string): Promise<boolean> {
    const replies = await this.#locate([id]);
    return replies.some(
      (reply) => reply.instance === instance && (reply.sending.includes(id) || reply.held.includes(id)),
    );
  }

  /** Whether one of them is making an attempt of this call right now. */
  async isSending(id: string): Promise<boolean> {
    const replies = await this.#locate([id]);
    return replies.some((reply) => reply.sending.includes(id));
  }

  /** Loses the calls that others have in hand or have finished. An attempt of any other goes on: its answer is as good as any. */
  async concede(leases: readonly JetStreamLease[]): Promise<void> {
    if (leases.length === 0) return;
    const replies = await this.#locate(leases.map((lease) => lease.action.id));
    const taken = new Set(replies.flatMap((reply) => [...reply.sending, ...reply.held]));
    for (const lease of leases) {
      if (lease.state !== 'ended' && (taken.has(lease.action.id) || (await lease.isOver()))) lease.lose('taken');
    }
  }

  async #locate(ids: readonly string[]): Promise<ControlReply[]> {
    const { connection, subjects, instance } = this.#context;
    const replies = await ask(connection, subjects, this.#service, { op: 'locate', ids });
    return replies.filter((reply) => reply.instance !== instance);
  }
}
