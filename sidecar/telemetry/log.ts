import { isatty } from 'node:tty';
import { pino, type Logger } from 'pino';
import type { LogLevel } from '../config/config.ts';
import { isDeadLetter, type DeliveryFacts, type TraceContext } from '../model/call.ts';
import {
  attemptEnded,
  brokerChanged,
  callAccepted,
  callAnswered,
  callFinished,
  deliveryChanged,
  eventFiltered,
  eventPublished,
  operatorActed,
  passedThrough,
  trouble,
} from './channels.ts';
import { Subscriptions } from './subscriptions.ts';

export type { Logger };

/** The log of a sidecar process: JSON lines on stdout, or readable ones when a person is watching. */
export async function createLog(options: {
  readonly level: LogLevel;
  /** Stands on every line. */
  readonly base: Readonly<Record<string, string>>;
}): Promise<Logger> {
  const settings = { level: options.level, base: options.base, timestamp: pino.stdTimeFunctions.isoTime };
  if (!isatty(1)) return pino({ ...settings, formatters: { level: (label) => ({ level: label }) } });
  const { default: pretty } = await import('pino-pretty');
  return pino(settings, pretty({ sync: true, ignore: Object.keys(options.base).join(',') }));
}

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const satisfies readonly LogLevel[];

/**
 * The level that `HOLDLINE_LOG_LEVEL` asks for, else the configured one.
 * @throws {RangeError} for a word that is no level
 */
export function logLevel(configured: LogLevel, env: NodeJS.ProcessEnv): LogLevel {
  const asked = env['HOLDLINE_LOG_LEVEL'];
  if (!asked) return configured;
  const level = levels.find((name) => name === asked.toLowerCase());
  if (level === undefined) throw new RangeError(`HOLDLINE_LOG_LEVEL: "${asked}" is none of ${levels.join(', ')}`);
  return level;
}

/**
 * Writes what the rooms publish, until the returned function is called. One line per call at debug (the answer on the
 * caller's side, the end on the callee's), more at trace, dead letters at warn. Never a header, a body, or a query:
 * queries carry tokens.
 */
export function logChannels(log: Logger): () => void {
  const subscriptions = new Subscriptions();
  const on: Subscriptions['on'] = (channel, listener) => subscriptions.on(channel, listener);

  on(callAccepted, ({ call, mode, trace }) => {
    if (!log.isLevelEnabled('trace')) return;
    log.trace({ ...callFields(call), ...traceFields(trace), mode }, 'call accepted');
  });
  on(eventPublished, ({ id, topic, publisher, route, trace }) => {
    if (!log.isLevelEnabled('trace')) return;
    log.trace({ callId: id, ...traceFields(trace), from: publisher, route, topic }, 'event published');
  });
  on(callAnswered, ({ id, service, route, method, target, status, problem, replayed, heldMs, trace }) => {
    // Every call comes by here; what is not written must cost nothing.
    if (!log.isLevelEnabled('debug')) return;
    log.debug(
      {
        ...(id !== undefined && { callId: id }),
        ...traceFields(trace),
        ...(service !== undefined && { to: service }),
        ...(route !== undefined && { route }),
        method,
        path: pathOf(target),
        status,
        ...(problem !== undefined && { problem }),
        ...(replayed && { replayed }),
        heldMs: Math.round(heldMs),
      },
      problem === undefined ? 'caller answered' : 'caller refused',
    );
  });
  on(passedThrough, ({ host, method, target, status, ms, route }) => {
    if (!log.isLevelEnabled('debug')) return;
    const told = { host, method, path: pathOf(target), status, ms: Math.round(ms) };
    log.debug(route === undefined ? told : { ...told, route }, 'passed through');
  });
  on(attemptEnded, ({ call, attempt, trace }) => {
    if (!log.isLevelEnabled('trace')) return;
    const { evidence, status, detail, ms } = attempt;
    log.trace(
      {
        ...callFields(call),
        ...traceFields(trace),
        attempt: attempt.attempt,
        evidence,
        ...(status !== undefined && { status }),
        ...(detail !== undefined && { detail }),
        ...(ms !== undefined && { ms: Math.round(ms) }),
      },
      'attempt ended',
    );
  });
  on(callFinished, ({ call, outcome, status, attempts, trace }) => {
    const died = isDeadLetter(outcome);
    if (!died && !log.isLevelEnabled('debug')) return;
    const fields = {
      ...callFields(call),
      ...traceFields(trace),
      outcome,
      ...(status !== undefined && { status }),
      attempts,
    };
    if (died) log.warn(fields, 'dead letter');
    else log.debug(fields, 'call finished');
  });
  on(eventFiltered, ({ call, verdict, trace }) => {
    if (!log.isLevelEnabled('debug')) return;
    log.debug({ ...callFields(call), ...traceFields(trace), verdict }, 'event filtered');
  });
  on(deliveryChanged, ({ service, state, why }) => {
    if (state === 'paused') log.warn({ to: service, why }, 'delivery paused');
    else log.info({ to: service, why }, 'delivery resumed');
  });
  on(brokerChanged, ({ connected, detail }) => {
    if (connected) log.info('broker connected');
    else log.warn({ ...(detail !== undefined && { detail }) }, 'broker not connected');
  });
  on(operatorActed, ({ action, id }) => log.info({ callId: id, action }, 'an operator acted'));
  on(trouble, ({ where, error, callId, trace }) => {
    const which = { ...(callId !== undefined && { callId }), ...traceFields(trace) };
    log.warn({ where, ...which, error: errorFields(error, log) }, error.message);
  });
  return () => subscriptions.end();
}

function callFields(call: {
  id: string;
  caller: string;
  service: string;
  route: string;
  method: string;
  target: string;
  delivery?: DeliveryFacts;
}) {
  const { id, caller, service, route, method, target, delivery } = call;
  const fields = { callId: id, from: caller, to: service, route, method, path: pathOf(target) };
  if (delivery === undefined) return fields;
  const { subscription, event, topic } = delivery;
  return { ...fields, subscription, event, topic };
}

/** The trace id out of a W3C `traceparent`: version-traceid-parentid-flags. */
function traceFields(trace: TraceContext | undefined): { traceId?: string } {
  const traceId = trace?.traceparent.split('-')[1];
  return traceId === undefined ? {} : { traceId };
}

function pathOf(target: string): string {
  const query = target.indexOf('?');
  return query === -1 ? target : target.slice(0, query);
}

/** Stacks are for those who debug Holdline itself. */
function errorFields(error: Error, log: Logger): Record<string, unknown> {
  const { name, code } = error as NodeJS.ErrnoException;
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  return {
    name,
    ...(code !== undefined && { code }),
    ...(cause !== undefined && { cause }),
    ...(log.isLevelEnabled('debug') && { stack: error.stack }),
  };
}
