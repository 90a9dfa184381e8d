import { trouble, type TypedChannel } from './channels.ts';

/** What one subscriber listens to, so that it ends as a whole. */
export class Subscriptions {
  readonly #ends: (() => void)[] = [];

  /** Calls `listener` at each message. One that throws is told; whoever published must not notice, let alone end by it. */
  on<T>(channel: TypedChannel<T>, listener: (message: T) => void): void {
    const guarded = (message: T) => {
      try {
        listener(message);
      } catch (error) {
        // A failure to tell failures would be told for ever.
        if ((channel as unknown) === trouble) return;
        trouble.publish({ where: 'telemetry', error: error instanceof Error ? error : new Error(String(error)) });
      }
    };
    channel.subscribe(guarded);
    this.#ends.push(() => channel.unsubscribe(guarded));
  }

  /** Listens no more. */
  end(): void {
    for (const end of this.#ends.splice(0)) end();
  }
}
