import { Counter, Histogram, Registry } from 'prom-client';
import { isDeadLetter } from '../model/call.ts';
import {
  attemptEnded,
  callAccepted,
  callAnswered,
  callerGone,
  callFinished,
  eventFiltered,
  passedThrough,
  trouble,
} from './channels.ts';
import { addGauges, type Watched } from './gauges.ts';
import { Subscriptions } from './subscriptions.ts';

/** Upper bounds for what a service takes to answer, s; calls may wait for a service that is down. */
const longTimes = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600];
/** Upper bounds for one write to the broker, s. */
const shortTimes = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];
/** So many names of services are told apart: a route for any host takes them from what callers write. */
const namesTold = 200;

/**
 * Counts what the rooms publish and shows it as Prometheus metrics; `sidecar/docs/metrics.md` lists them, and a test keeps
 * that list. Each event is counted by one sidecar only: what became of calls for their callers on the caller's side,
 * attempts and dead letters on the callee's.
 */
export class Metrics {
  readonly registry = new Registry();
  readonly #subscriptions = new Subscriptions();

  constructor(watched: Watched) {
    this.#countCallerSide();
    this.#countCalleeSide();
    this.#countRest();
    addGauges(this.registry, watched);
  }

  /** The text of `/metrics`, and its media type. */
  async exposition(): Promise<{ readonly text: string; readonly type: string }> {
    return { text: await this.registry.metrics(), type: this.registry.contentType };
  }

  /** Counts no more. */
  close(): void {
    this.#subscriptions.end();
  }

  #countCallerSide(): void {
    const calls = this.#counter('holdline_calls_total', 'Calls that the service made, by what the caller got', [
      'route',
      'service',
      'outcome',
    ]);
    const holds = this.#histogram('holdline_hold_seconds', 'How long callers were kept until they were answered', []);
    const problems = this.#counter('holdline_problems_total', 'Refusals and failures that Holdline answered itself', [
      'code',
    ]);
    const services = boundedNames();
    const on: Subscriptions['on'] = (channel, listener) => this.#subscriptions.on(channel, listener);
    on(callAnswered, ({ route, service, status, problem, replayed, outcome, heldMs }) => {
      if (problem !== undefined) problems.inc({ code: problem });
      if (route === undefined || service === undefined) return;
      const became = problem ?? (replayed ? 'replayed' : (outcome ?? (status === 202 ? 'accepted' : 'answered')));
      calls.inc({ route, service: services(service), outcome: became });
      holds.observe(heldMs / 1000);
    });
    on(callerGone, ({ route, service, heldMs }) => {
      calls.inc({ route, service: services(service), outcome: 'caller-gone' });
      holds.observe(heldMs / 1000);
    });
  }

  #countCalleeSide(): void {
    const attempts = this.#counter('holdline_attempts_total', 'Attempts against the service, by what they proved', [
      'service',
      'evidence',
    ]);
    const took = this.#histogram('holdline_attempt_seconds', 'How long attempts took', ['service']);
    const open = this.#histogram('holdline_call_seconds', 'From the acceptance of a call to its stored answer', [
      'service',
    ]);
    const letters = this.#counter('holdline_dead_letters_total', 'Calls that became dead letters', [
      'service',
      'reason',
    ]);
    const filtered = this.#counter('holdline_filtered_events_total', 'Events that a filter did not let through', [
      'subscription',
      'verdict',
    ]);
    const on: Subscriptions['on'] = (channel, listener) => this.#subscriptions.on(channel, listener);
    on(eventFiltered, ({ call: { delivery }, verdict }) => {
      filtered.inc({ subscription: delivery?.subscription ?? '', verdict });
    });
    on(attemptEnded, ({ call: { service }, attempt: { evidence, ms } }) => {
      attempts.inc({ service, evidence });
      if (ms !== undefined) took.observe({ service }, ms / 1000);
    });
    on(callFinished, ({ call: { service, acceptedAt }, outcome }) => {
      // The clock of another machine may be ahead.
      open.observe({ service }, Math.max(0, Date.now() - acceptedAt) / 1000);
      if (isDeadLetter(outcome)) letters.inc({ service, reason: outcome });
    });
  }

  #countRest(): void {
    const storing = this.#histogram(
      'holdline_store_seconds',
      'How long the broker took to store an event',
      ['event'],
      shortTimes,
    );
    const passed = this.#counter('holdline_passed_through_total', 'Requests that went straight to their callee', [
      'status',
    ]);
    const observed = this.#histogram(
      'holdline_passed_through_seconds',
      'How long requests of routes with mode: observe took until they were answered',
      ['route', 'status'],
    );
    const troubles = this.#counter('holdline_troubles_total', 'Failures that were logged and are tried again', []);
    troubles.inc(0);
    const on: Subscriptions['on'] = (channel, listener) => this.#subscriptions.on(channel, listener);
    on(callAccepted, ({ storingMs }) => storing.observe({ event: 'action' }, storingMs / 1000));
    on(callFinished, ({ storingMs }) => {
      if (storingMs !== undefined) storing.observe({ event: 'response' }, storingMs / 1000);
    });
    on(passedThrough, ({ status, route, ms }) => {
      const kind = `${Math.floor(status / 100)}xx`;
      passed.inc({ status: kind });
      if (route !== undefined) observed.observe({ route, status: kind }, ms / 1000);
    });
    on(trouble, () => troubles.inc());
  }

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[]): Counter<L> {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #histogram<L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    buckets = longTimes,
  ): Histogram<L> {
    return new Histogram({ name, help, labelNames: [...labelNames], buckets, registers: [this.registry] });
  }
}

/** Lets so many names through as they are; those that come later are all `other`, or a metric could grow without end. */
function boundedNames(): (name: string) => string {
  const known = new Set<string>();
  return (name) => {
    if (known.has(name)) return name;
    if (known.size >= namesTold) return 'other';
    known.add(name);
    return name;
  };
}
