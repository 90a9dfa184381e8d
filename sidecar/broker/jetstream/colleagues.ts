import type { Context } from './context.ts';
import { ask, type ControlReply } from './control.ts';

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

  /** Which of these calls are in their hands. */
  async taken(ids: readonly string[]): Promise<ReadonlySet<string>> {
    const replies = await this.#locate(ids);
    return new Set(replies.flatMap((reply) => [...reply.sending, ...reply.held]));
  }

  async #locate(ids: readonly string[]): Promise<ControlReply[]> {
    const { connection, subjects, instance } = this.#context;
    const replies = await ask(connection, subjects, this.#service, { op: 'locate', ids });
    return replies.filter((reply) => reply.instance !== instance);
  }
}
