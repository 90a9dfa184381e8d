import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from 'prom-client';

/** What is looked at when somebody asks for metrics. Nothing here may hang. */
export interface Watched {
  readonly service: string;
  readonly instance: string;
  readonly version: string;
  /** Callers whose connection is kept open. */
  held(): number;
  brokerUp(): boolean;
  /** The last change of the configuration was refused. */
  reloadRefused(): boolean;
  inbound(): readonly { readonly service: string; readonly delivering: boolean; readonly running: number }[];
  /** Calls that wait, of the services of this sidecar whose broker tells. */
  backlogs(): Promise<readonly Backlog[]>;
}

export interface Backlog {
  readonly service: string;
  readonly waiting: number;
  /** Since when the oldest waits, ms since the epoch. */
  readonly oldest?: number;
}

/** How exactly the delay of the event loop is measured, ms. Finer costs more wake-ups. */
const delayResolution = 20;

/** Adds the metrics that are read when they are asked for. */
export function addGauges(registry: Registry, watched: Watched): void {
  const gauge = gaugesIn(registry);
  const { service, instance, version } = watched;
  gauge('holdline_build_info', 'What runs here; always 1', ['service', 'instance', 'version'], (to) => {
    to.set({ service, instance, version }, 1);
  });
  gauge('holdline_broker_up', 'Whether the broker is connected', [], (to) => to.set(watched.brokerUp() ? 1 : 0));
  gauge('holdline_held', 'Callers whose connection is kept open', [], (to) => to.set(watched.held()));
  gauge('holdline_reload_refused', 'Whether the last change of the configuration was refused', [], (to) =>
    to.set(watched.reloadRefused() ? 1 : 0),
  );
  gauge('holdline_attempts_running', 'Attempts under way in this sidecar', ['service'], (to) => {
    to.reset();
    for (const each of watched.inbound()) to.set({ service: each.service }, each.running);
  });
  gauge(
    'holdline_delivery_paused',
    'Whether calls wait because the service or the broker is away',
    ['service'],
    (to) => {
      to.reset();
      for (const each of watched.inbound()) to.set({ service: each.service }, each.delivering ? 0 : 1);
    },
  );
  addWaiting(gauge, watched);
  addProcess(gauge, registry);
}

type AddGauge = <L extends string>(
  name: string,
  help: string,
  labelNames: readonly L[],
  read: (to: Gauge<L>) => void | Promise<void>,
) => Gauge<L>;

function gaugesIn(registry: Registry): AddGauge {
  return <L extends string>(name: string, help: string, labelNames: readonly L[], read: (to: Gauge<L>) => unknown) =>
    new Gauge<L>({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      async collect() {
        await read(this);
      },
    });
}

/** Both come from one question to the broker. Where it does not answer they are absent, not 0. */
function addWaiting(gauge: AddGauge, watched: Watched): void {
  let asked: Promise<readonly Backlog[]> | undefined;
  const ask = () => {
    asked ??= watched.backlogs().finally(() => (asked = undefined));
    return asked;
  };
  const waiting = 'Calls to the service that are stored and not finished; all its sidecars say the same';
  gauge('holdline_backlog', waiting, ['service'], async (to) => {
    const backlogs = await ask();
    to.reset();
    for (const { service, waiting: count } of backlogs) to.set({ service }, count);
  });
  const age = 'How long the oldest of these has been waiting; 0 where none waits';
  gauge('holdline_oldest_waiting_seconds', age, ['service'], async (to) => {
    const backlogs = await ask();
    to.reset();
    for (const { service, waiting: count, oldest } of backlogs) {
      const since = count === 0 ? undefined : oldest;
      to.set({ service }, since === undefined ? 0 : Math.max(0, Date.now() - since) / 1000);
    }
  });
}

/** Under the names that dashboards of Node programs know. */
function addProcess(gauge: AddGauge, registry: Registry): void {
  const delay = monitorEventLoopDelay({ resolution: delayResolution });
  delay.enable();
  gauge('process_resident_memory_bytes', 'Resident memory', [], (to) => to.set(process.memoryUsage.rss()));
  gauge('process_start_time_seconds', 'When the process started, seconds since the epoch', [], (to) =>
    to.set(performance.timeOrigin / 1000),
  );
  gauge('nodejs_heap_size_used_bytes', 'Memory used on the JavaScript heap', [], (to) =>
    to.set(process.memoryUsage().heapUsed),
  );
  const lag = 'Delay of the event loop since the last time that somebody asked, 99th percentile';
  gauge('nodejs_eventloop_lag_p99_seconds', lag, [], (to) => {
    const p99 = delay.percentile(99) / 1e9;
    delay.reset();
    to.set(Math.max(0, p99 - delayResolution / 1000));
  });
  let counted = 0;
  const cpu = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of all threads',
    registers: [registry],
    collect() {
      const { user, system } = process.cpuUsage();
      const now = (user + system) / 1e6;
      cpu.inc(Math.max(0, now - counted));
      counted = now;
    },
  });
}
