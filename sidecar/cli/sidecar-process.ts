import { flushCompileCache } from 'node:module';
import { App } from '../app.ts';
import { exitCodes, InvalidConfiguration, WrongUsage } from './failure.ts';
import type { Config, LogLevel } from '../config/config.ts';
import { formatConfigError, loadConfig, type ConfigError } from '../config/load.ts';
import { watchConfig } from '../config/watch.ts';
import { trouble } from '../telemetry/channels.ts';
import { createLog, logChannels, type Logger, logLevel } from '../telemetry/log.ts';
import { startTelemetry, type Telemetry } from '../telemetry/otlp.ts';
import { oneAtATime } from '../lifecycle/one-at-a-time.ts';
import { decideReload } from '../lifecycle/reload-decision.ts';
import { onSignals } from '../lifecycle/signals.ts';
import { version } from '../lifecycle/version.ts';

/** What is left of traces and metrics at the end may take this long to be sent, ms. */
const telemetryLimit = 2000;
/** Beyond `shutdown.drain`, before the watchdog ends a process that does not end by itself, ms. */
const watchdogGrace = 5000;

/**
 * The life of a sidecar process: starts it, reloads it, and resolves when it has stopped.
 * @returns the exit code
 * @throws {InvalidConfiguration} before anything is started
 * @throws Error when it cannot start; nothing stays open then
 */
export async function runSidecar(file: string): Promise<number> {
  const { config, text, remarks } = readRunnable(file);
  const log = await createLog({ level: levelOf(config), base: { service: config.service } });
  endOnDefect(log);
  tellRemarks(remarks, log);
  const stopLog = logChannels(log);
  const app = new App(config, version);
  const telemetry = await telemetryOf(app);

  const stopping = Promise.withResolvers<NodeJS.Signals>();
  const watching = new AbortController();
  const reloads = oneAtATime(async () => {
    if (!watching.signal.aborted) await reload(app, file, log);
  });
  const forgetSignals = onSignals({
    stop: (signal) => stopping.resolve(signal),
    stopNow: (signal) => {
      log.warn({ signal }, 'stopped at once; calls under way are left to other instances or the next start');
      process.exit(exitCodes.failed);
    },
    reload: () => reloads.request(),
  });

  try {
    await app.start();
    const { outbound, admin } = app.addresses();
    log.info({ version, instance: app.instance, node: process.version, outbound, admin }, 'started');
    // Node writes it when a process ends by itself; one that is killed should have left it, too.
    flushCompileCache();
    if (telemetry !== undefined) log.info({ signals: telemetry.signals }, 'telemetry is sent by OTLP');
    watchConfig({
      file,
      text,
      onChange: () => reloads.request(),
      onProblem: (message) => log.warn({ file }, message),
      signal: watching.signal,
    });

    const signal = await stopping.promise;
    watching.abort();
    const limit = app.config.shutdown.drain;
    log.info({ signal, drainMs: limit }, 'stopping');
    const watchdog = setTimeout(() => {
      log.error({ holding: process.getActiveResourcesInfo() }, 'the sidecar did not stop in time and is ended');
      process.exit(exitCodes.failed);
    }, limit + watchdogGrace);
    await reloads.idle();
    await app.drain(limit);
    await app.stop();
    await telemetry?.stop(telemetryLimit);
    clearTimeout(watchdog);
    log.info('stopped');
    endIfSomethingLingers(log);
    return exitCodes.done;
  } finally {
    watching.abort();
    forgetSignals();
    stopLog();
  }
}

/** Never rejects: telemetry is never a reason not to start. */
async function telemetryOf({ config, instance, metrics: { registry } }: App): Promise<Telemetry | undefined> {
  const { service, broker, telemetry } = config;
  const system = broker.kind;
  const options = { otlp: telemetry.otlp, service, instance, version, system, registry, report: tellTelemetry };
  try {
    return await startTelemetry(options, process.env);
  } catch (error) {
    tellTelemetry(new Error(`nothing is sent by OTLP: ${String(error)}`, { cause: error }));
    return undefined;
  }
}

function tellTelemetry(error: Error): void {
  trouble.publish({ where: 'telemetry', error });
}

function levelOf(config: Config): LogLevel {
  try {
    return logLevel(config.telemetry.log.level, process.env);
  } catch (cause) {
    throw new WrongUsage((cause as RangeError).message, { cause });
  }
}

function readRunnable(file: string): { config: Config; text: string; remarks: readonly ConfigError[] } {
  const loaded = loadConfig(file, process.env);
  if (!loaded.ok) throw new InvalidConfiguration(loaded.errors.map(formatConfigError));
  return loaded;
}

function tellRemarks(remarks: readonly ConfigError[], log: Logger): void {
  if (remarks.length === 0) return;
  log.warn({ remarks: remarks.map(formatConfigError) }, 'some of the configuration has no effect');
}

/** Never rejects: whatever is wrong with the new configuration, the old one goes on. */
async function reload(app: App, file: string, log: Logger): Promise<void> {
  const refuse = (errors: readonly string[]) => {
    log.error({ file, errors }, 'changed configuration refused, the old one goes on');
    app.reloadRefused(errors);
  };
  try {
    const loaded = loadConfig(file, process.env);
    if (!loaded.ok) {
      refuse(loaded.errors.map(formatConfigError));
      return;
    }
    const decision = decideReload(app.config, loaded.config);
    if (decision.kind === 'refuse') {
      refuse(decision.reasons);
    } else if (decision.kind === 'unchanged') {
      app.reloadUnneeded();
      log.debug({ file }, 'configuration read again, nothing has changed');
    } else {
      tellRemarks(loaded.remarks, log);
      await app.reload(loaded.config);
      log.level = levelOf(loaded.config);
      log.info({ file, ...app.addresses() }, 'configuration reloaded');
    }
  } catch (error) {
    refuse([error instanceof Error ? error.message : String(error)]);
  }
}

/** Everything is closed, so the process ends by itself; a handle that somebody forgot must not keep it. */
function endIfSomethingLingers(log: Logger): void {
  const watchdog = setTimeout(() => {
    log.warn({ holding: process.getActiveResourcesInfo() }, 'stopped, but something kept the process: a defect');
    process.exit(exitCodes.done);
  }, 1000);
  // oxlint-disable-next-line no-restricted-properties -- it watches for what keeps the process and must not be that itself
  watchdog.unref();
}

/** What nobody has caught leaves the process in a state that nobody knows: it ends, and durability does the rest. */
function endOnDefect(log: Logger): void {
  const end = (kind: string) => (error: unknown) => {
    log.fatal({ err: error }, `${kind}: a defect of Holdline; the process ends`);
    process.exit(exitCodes.failed);
  };
  process.on('uncaughtException', end('uncaught exception')).on('unhandledRejection', end('unhandled rejection'));
}
