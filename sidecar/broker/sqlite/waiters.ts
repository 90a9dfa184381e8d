import type { Ledger } from './ledger.ts';
import { settlesRound } from './verdict.ts';

interface Waiting {
  /** Responses up to this `seq` have been looked at. */
  seen: number;
  readonly rounds: Map<string, number>;
  /** Not looked up yet: the response may be there already. */
  readonly fresh: Set<string>;
}

/** The calls whose response is awaited here, by caller. */
export class Waiters {
  readonly #ledger: Ledger;
  readonly #waiting = new Map<string, Waiting>();
  readonly #found: (id: string, caller: string, event: Uint8Array) => void;

  constructor(ledger: Ledger, found: (id: string, caller: string, event: Uint8Array) => void) {
    this.#ledger = ledger;
    this.#found = found;
  }

  add(caller: string, id: string, round: number): void {
    let waiting = this.#waiting.get(caller);
    if (waiting === undefined) {
      waiting = { seen: -1, rounds: new Map(), fresh: new Set() };
      this.#waiting.set(caller, waiting);
    }
    waiting.rounds.set(id, Math.max(round, waiting.rounds.get(id) ?? 1));
    waiting.fresh.add(id);
  }

  remove(caller: string, id: string): void {
    const waiting = this.#waiting.get(caller);
    waiting?.rounds.delete(id);
    waiting?.fresh.delete(id);
  }

  get isEmpty(): boolean {
    return [...this.#waiting.values()].every((waiting) => waiting.rounds.size === 0);
  }

  /** Finds what was stored since the last look; within a reading transaction. */
  look(now: number): void {
    for (const [caller, waiting] of this.#waiting) {
      if (waiting.rounds.size === 0) {
        this.#waiting.delete(caller);
        continue;
      }
      this.#lookUpFresh(caller, waiting, now);
      this.#lookAtNew(caller, waiting);
    }
  }

  #lookUpFresh(caller: string, waiting: Waiting, now: number): void {
    if (waiting.seen < 0) waiting.seen = this.#ledger.responses.newest;
    for (const id of waiting.fresh) {
      const found = this.#ledger.answerOf(id, caller, waiting.rounds.get(id) ?? 1, now);
      if (found !== undefined) this.#give(waiting, id, caller, found.seq);
    }
    waiting.fresh.clear();
  }

  #lookAtNew(caller: string, waiting: Waiting): void {
    for (const response of this.#ledger.responses.since(caller, waiting.seen)) {
      waiting.seen = response.seq;
      const round = waiting.rounds.get(response.id);
      if (round !== undefined && settlesRound(response, round)) this.#give(waiting, response.id, caller, response.seq);
    }
  }

  #give(waiting: Waiting, id: string, caller: string, seq: number): void {
    waiting.rounds.delete(id);
    this.#found(id, caller, this.#ledger.responses.event(seq));
  }
}
