import {
  BrokerUnavailable,
  type Broker,
  type BrokerStatus,
  type CallerLog,
  type FoundCall,
  type Published,
  type Stored,
} from '../../../sidecar/broker/port.ts';
import type { BroadcastEvent } from '../../../sidecar/model/broadcast.ts';
import { CallIds } from '../../../sidecar/model/call-id.ts';
import {
  conclude,
  noProgress,
  type ActionEvent,
  type Answer,
  type Outcome,
  type ResponseEvent,
} from '../../../sidecar/model/call.ts';
import { eventually } from '../../support/eventually.ts';
import { MemoryBodies } from '../memory-bodies.ts';

/** The caller's side of the broker port in memory, whose every answer a test decides. */
export class MemoryCaller {
  /** In the order in which they were asked to be stored. */
  readonly stored: ActionEvent[] = [];
  /** In the order in which they were asked to be stored. */
  readonly events: BroadcastEvent[] = [];
  readonly delivered: string[] = [];
  /** Callers that were led to a call which was there. */
  readonly attached: { readonly id: string; readonly how: string }[] = [];
  /** The id that each content key stands for. */
  readonly claims = new Map<string, string>();
  readonly withdrawn: [id: string, outcome: string][] = [];
  /** What `find` finds, by id. */
  readonly known = new Map<string, FoundCall>();
  prepared: readonly string[] = [];
  maxInlineBody = 8 * 1024 * 1024;
  readonly bodies = new MemoryBodies();
  /** How `store` ends; a test replaces it. */
  onStore: (action: ActionEvent) => Stored | Promise<Stored> = () => ({ kind: 'accepted' });
  /** Is waited for before a content is claimed. */
  onClaim: () => void | Promise<void> = () => {};
  onPublish: (event: BroadcastEvent) => Published | Promise<Published> = () => ({ kind: 'stored' });
  onFind: (id: string) => FoundCall | undefined | Promise<FoundCall | undefined> = (id) => this.known.get(id);
  onWithdraw: (id: string) => 'withdrawn' | 'started' | 'finished' | 'unknown' = () => 'withdrawn';
  #status: BrokerStatus = { connected: true };
  readonly #listeners = new Set<(status: BrokerStatus) => void>();
  readonly #waiting = new Map<string, Set<(response: ResponseEvent) => void>>();

  /** Calls whose response is awaited. */
  get awaited(): string[] {
    return [...this.#waiting.keys()];
  }

  /** Listeners for the connection that are still there. */
  get listeners(): number {
    return this.#listeners.size;
  }

  setConnected(connected: boolean): void {
    this.#status = { connected };
    for (const listener of this.#listeners) listener(this.#status);
  }

  /** From now on nothing can be stored or found. */
  goAway(): void {
    const refuse = (): never => {
      throw new BrokerUnavailable('not connected', { retryAfter: 3000 });
    };
    this.onStore = refuse;
    this.onPublish = refuse;
    this.onFind = refuse;
    this.onClaim = refuse;
    this.setConnected(false);
  }

  comeBack(): void {
    this.onStore = () => ({ kind: 'accepted' });
    this.onFind = (id) => this.known.get(id);
    this.onClaim = () => {};
    this.setConnected(true);
  }

  /** The nth action, counted from 1, once it was given to `store`. */
  async action(count = 1): Promise<ActionEvent> {
    return eventually(
      () => {
        const action = this.stored[count - 1];
        if (action === undefined) throw new Error(`${this.stored.length} stored`);
        return action;
      },
      { what: `${count} stored actions` },
    );
  }

  /** Ends a call and tells whoever awaits it. */
  finish(action: ActionEvent, outcome: Outcome, answer?: Partial<Answer>): ResponseEvent {
    const whole = answer && { status: 200, reason: 'OK', headers: [], trailers: [], body: Buffer.from(''), ...answer };
    const progress = whole === undefined ? noProgress : { ...noProgress, answer: whole };
    const response = conclude(action, progress, outcome, Date.now());
    this.known.set(action.id, { kind: 'finished', response, delivered: false });
    const waiters = this.#waiting.get(action.id) ?? [];
    this.#waiting.delete(action.id);
    for (const waiter of waiters) waiter(response);
    return response;
  }

  get broker(): Broker {
    const status = () => this.#status;
    const maxInlineBody = () => this.maxInlineBody;
    const log = this.#log();
    const ids = new CallIds('00000');
    const broker: Pick<
      Broker,
      'status' | 'onStatus' | 'caller' | 'publisher' | 'maxInlineBody' | 'maxEventBody' | 'bodies'
    > = {
      get status() {
        return status();
      },
      onStatus: (listener) => {
        this.#listeners.add(listener);
        return () => this.#listeners.delete(listener);
      },
      caller: () => log,
      publisher: () => ({
        newEventId: () => ids.next('orders'),
        publish: async (event) => {
          this.events.push(event);
          return await this.onPublish(event);
        },
      }),
      bodies: this.bodies,
      get maxEventBody() {
        return maxInlineBody();
      },
      get maxInlineBody() {
        return maxInlineBody();
      },
    };
    return broker as Broker;
  }

  #log(): CallerLog {
    const ids = new CallIds('00000');
    return {
      prepare: (services) => {
        this.prepared = services;
      },
      newCallId: (service) => ids.next(service),
      store: async (action) => {
        const stored = await this.onStore(action);
        if (stored.kind === 'accepted') this.stored.push(action);
        return stored;
      },
      await: (id) => {
        const waiters = this.#waiting.get(id) ?? new Set();
        this.#waiting.set(id, waiters);
        const { promise, resolve } = Promise.withResolvers<ResponseEvent>();
        waiters.add(resolve);
        const release = () => {
          waiters.delete(resolve);
          if (waiters.size === 0 && this.#waiting.get(id) === waiters) this.#waiting.delete(id);
        };
        return { response: promise, release };
      },
      find: async (id) => this.onFind(id),
      markDelivered: (id) => {
        this.delivered.push(id);
      },
      noteAttached: (id, how) => {
        this.attached.push({ id, how });
      },
      claim: async (claim) => {
        await this.onClaim();
        const { key, id, instead } = claim;
        const current = this.claims.get(key);
        if (current !== undefined && current !== instead) return current;
        this.claims.set(key, id);
        return id;
      },
      withdraw: async (id, outcome) => {
        this.withdrawn.push([id, outcome]);
        return this.onWithdraw(id);
      },
    };
  }
}
