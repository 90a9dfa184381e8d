import type { Agent } from 'node:http';
import type { Duplex } from 'node:stream';

/** How often it is looked at, parts of the limit. */
const LOOKS = 8;

/**
 * Closes the connections that agents keep once they have rested for `limit` ms, an eighth of that later at most.
 *
 * An agent's own `timeout` does so, too, but sets a timer and listeners for each request, which cost a tenth of what it takes to
 * pass one through.
 */
export class IdleLimit {
  readonly #agents: readonly Agent[];
  readonly #limit: number;
  readonly #since = new WeakMap<Duplex, number>();
  #looking: NodeJS.Timeout | undefined;

  constructor(agents: readonly Agent[], limit: number) {
    this.#agents = agents;
    this.#limit = limit;
    for (const agent of agents) {
      // What a subclass would override (Node's documentation of http.Agent).
      const keep = agent.keepSocketAlive.bind(agent);
      agent.keepSocketAlive = (socket) => {
        this.#since.set(socket, performance.now());
        this.#looking ??= setInterval(() => this.#look(), limit / LOOKS);
        return keep(socket);
      };
    }
  }

  #look(): void {
    const eldest = performance.now() - this.#limit;
    const resting = this.#agents.flatMap(({ freeSockets }) => Object.values(freeSockets).flatMap((of) => of ?? []));
    for (const socket of resting) if ((this.#since.get(socket) ?? 0) <= eldest) socket.destroy();
    if (resting.length === 0) this.#stopLooking();
  }

  #stopLooking(): void {
    clearInterval(this.#looking);
    this.#looking = undefined;
  }

  /** Closes the agents and all their connections. */
  close(): void {
    for (const agent of this.#agents) agent.destroy();
    this.#stopLooking();
  }
}
