import { JetStreamApiCodes } from '@nats-io/jetstream';
import type { Context } from './context.ts';
import { isApiError } from './streams.ts';

/** How often it is looked for bodies that nothing refers to, ms. */
const EVERY = 3_600_000;
/** An upload may take this long, ms, before the body is taken for one that a dying sidecar left behind. */
const ORPHANED_AFTER = 24 * 3_600_000;

/**
 * Removes what dying sidecars left of the bodies of one service's calls: uploads that never became a call, and bodies
 * whose call or letter has gone without them. Answers need none of this, their streams have an age.
 */
export class BodySweeper {
  readonly #context: Context;
  readonly #service: string;
  readonly #timer: NodeJS.Timeout;
  readonly #age: number;
  #sweeping = false;

  /** @param age of a body that nothing refers to before it is removed, ms */
  constructor(context: Context, service: string, age = ORPHANED_AFTER) {
    this.#context = context;
    this.#service = service;
    this.#age = age;
    this.#timer = setInterval(() => {
      this.sweep().catch(context.report);
    }, EVERY);
  }

  /** Looks once. Never rejects. */
  async sweep(): Promise<void> {
    const { connection, report } = this.#context;
    if (this.#sweeping || !connection.connected) return;
    this.#sweeping = true;
    try {
      await this.#sweep();
    } catch (error) {
      if (connection.connected) report(error as Error);
    } finally {
      this.#sweeping = false;
    }
  }

  async #sweep(): Promise<void> {
    const { streams, subjects, bodies, closing } = this.#context;
    const manager = await streams.manager();
    let first: string[];
    try {
      const filter = subjects.firstChunks(this.#service);
      const info = await manager.streams.info(subjects.bodyStream(this.#service), { subjects_filter: filter });
      first = Object.keys(info.state.subjects ?? {});
    } catch (error) {
      // No large body has ever been sent to this service.
      if (isApiError(error, JetStreamApiCodes.StreamNotFound)) return;
      throw error;
    }
    const oldest = Date.now() - this.#age;
    for (const subject of first) {
      if (closing.aborted) return;
      const id = subject.slice(0, subject.lastIndexOf('.'));
      const writtenAt = subjects.readBody(id)?.writtenAt;
      if (writtenAt !== undefined && writtenAt <= oldest) await bodies.forgetAt(id);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
