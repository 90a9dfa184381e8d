import { BrokerUnavailable, type Broker } from '../broker/port.ts';
import type { Alarm, Alarms } from './alarms.ts';

/** How long a broker that was there a moment ago is waited for before a call is refused, ms. */
const patience = 1000;
/** How recent "a moment ago" is, ms. */
const recently = 5000;

/**
 * A broker that restarts, or a leader that changes, is away for a moment: refusing calls for that would make every
 * caller see what durability is there to hide. One that has been away for longer refuses at once.
 */
export class BrokerPatience {
  readonly #broker: Broker;
  readonly #alarms: Alarms;
  readonly #stop: () => void;
  #connectedAt = Number.NEGATIVE_INFINITY;
  readonly #waiting = new Set<(back: boolean) => void>();
  #alarm: Alarm | undefined;

  constructor(broker: Broker, alarms: Alarms) {
    this.#broker = broker;
    this.#alarms = alarms;
    let wasConnected = broker.status.connected;
    this.#stop = broker.onStatus(({ connected }) => {
      if (wasConnected && !connected) this.#connectedAt = performance.now();
      wasConnected = connected;
      if (connected) this.#tell(true);
    });
  }

  /** Resolves when it is decided whether trying again makes sense; at once where it does not. */
  returns(): Promise<boolean> {
    const away = performance.now() - this.#connectedAt;
    if (this.#broker.status.connected || away > recently) return Promise.resolve(false);
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      this.#alarm ??= this.#alarms.set(patience, () => this.#tell(false));
    });
  }

  /**
   * Asks, and asks again where the broker is away only for a moment.
   * @param wanted whether the answer is still of use
   * @throws {BrokerUnavailable}
   */
  async insist<T>(ask: () => Promise<T>, wanted: () => boolean): Promise<T> {
    for (;;) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof BrokerUnavailable)) throw error;
        if (!(await this.returns()) || !wanted()) throw error;
      }
    }
  }

  close(): void {
    this.#stop();
    this.#tell(false);
  }

  #tell(back: boolean): void {
    this.#alarm?.cancel();
    this.#alarm = undefined;
    for (const resolve of this.#waiting) resolve(back);
    this.#waiting.clear();
  }
}
