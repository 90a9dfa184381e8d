import type { Broker, CalleeLog, Lease, TakeOptions } from '../../../sidecar/broker/port.ts';
import { type ActionEvent, noProgress, type Progress, type ResponseEvent } from '../../../sidecar/model/call.ts';
import { createLatch, type Latch } from '../../support/latch.ts';
import { MemoryBodies } from '../memory-bodies.ts';

/** What was done with a lease, in order. */
export type Step =
  | { readonly kind: 'start'; readonly attempt: number }
  | { readonly kind: 'release' }
  | { readonly kind: 'postpone'; readonly progress: Progress; readonly until: number }
  | { readonly kind: 'finish'; readonly response: ResponseEvent };

/** One stored action and what became of it. */
export class StoredCall {
  readonly action: ActionEvent;
  readonly steps: Step[] = [];
  readonly finished: Latch<ResponseEvent> = createLatch();
  progress: Progress;
  unaccounted = 0;
  notBefore = 0;
  leased = false;
  withdrawn = false;
  /** Aborting it makes the current lease a lost one. */
  lease = new AbortController();
  /** Runs while a start is being recorded. */
  onStart: (() => void | Promise<void>) | undefined;

  constructor(action: ActionEvent, progress: Progress = noProgress) {
    this.action = action;
    this.progress = progress;
  }

  get kinds(): string[] {
    return this.steps.map(({ kind }) => kind);
  }
}

/**
 * The callee's side of the broker port in memory, for one instance: enough to drive the inbound room, and strict about
 * what the port asks of its user.
 */
export class MemoryCallee {
  readonly calls: StoredCall[] = [];
  readonly violations: string[] = [];
  maxInlineBody = 8 * 1024 * 1024;
  readonly bodies = new MemoryBodies();
  paused = true;
  stopped = false;
  #options: TakeOptions | undefined;
  #timers = new Set<NodeJS.Timeout>();

  /** As much of a broker as the inbound room may touch. */
  get broker(): Broker {
    const maxInlineBody = () => this.maxInlineBody;
    const log: CalleeLog = { take: (options) => this.#take(options) };
    const broker: Pick<Broker, 'status' | 'callee' | 'maxInlineBody' | 'bodies'> = {
      status: { connected: true },
      callee: () => log,
      bodies: this.bodies,
      get maxInlineBody() {
        return maxInlineBody();
      },
    };
    return broker as Broker;
  }

  store(action: ActionEvent, progress?: Progress): StoredCall {
    const call = new StoredCall(action, progress);
    this.calls.push(call);
    this.pump();
    return call;
  }

  /** Delivers one although delivery is paused, as a pull that was under way does. */
  force(call: StoredCall): void {
    this.#deliver(call);
  }

  pump(): void {
    if (this.paused || this.stopped || this.#options === undefined) return;
    const now = Date.now();
    let free = this.#options.free();
    for (const call of this.calls) {
      if (free <= 0) return;
      if (call.leased || call.withdrawn || call.finished.isOpen || call.notBefore > now) continue;
      free--;
      this.#deliver(call);
    }
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #take(options: TakeOptions) {
    this.#options = options;
    return {
      pause: () => void (this.paused = true),
      resume: () => {
        this.paused = false;
        this.pump();
      },
      more: () => this.pump(),
      stop: async () => void (this.stopped = true),
      backlog: async () => ({ waiting: this.calls.filter((call) => !call.finished.isOpen).length }),
    };
  }

  #deliver(call: StoredCall): void {
    call.leased = true;
    call.lease = new AbortController();
    let ended = false;
    const end = (step: Step): void => {
      if (ended) this.violations.push(`${step.kind} after the lease has ended`);
      ended = true;
      call.leased = false;
      call.steps.push(step);
    };
    const lease: Lease = {
      action: call.action,
      progress: call.progress,
      unaccounted: call.unaccounted,
      lost: call.lease.signal,
      start: async (attempt) => {
        call.steps.push({ kind: 'start', attempt });
        await call.onStart?.();
        if (!call.withdrawn) return 'started';
        ended = true;
        return 'gone';
      },
      release: async () => {
        end({ kind: 'release' });
        queueMicrotask(() => this.pump());
      },
      postpone: async (progress, until) => {
        end({ kind: 'postpone', progress, until });
        Object.assign(call, { progress, unaccounted: 0, notBefore: until });
        const timer = setTimeout(() => this.pump(), Math.max(0, until - Date.now()) + 1);
        this.#timers.add(timer);
      },
      finish: async (response) => {
        end({ kind: 'finish', response });
        call.finished.open(response);
      },
    };
    this.#options!.deliver(lease);
  }
}
