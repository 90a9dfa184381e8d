import type * as z from 'zod';
import { httpUrl, listenAddress, traceLink } from './addresses.ts';
import { brokerSchema } from './broker.ts';
import { inboundSchema, subscriptionSchema } from './inbound.ts';
import { choice, key, list, mapping, secretText, written } from './key.ts';
import { outboundSchema } from './routes.ts';
import { wait } from './units.ts';
import { serviceName } from './words.ts';

export type * from './config.ts';

const admin = mapping({
  listen: key(
    written(listenAddress).prefault('127.0.0.1:4900'),
    'Where `/live`, `/ready`, `/metrics`, the API and the page are served. Anything but loopback requires `token`.',
    'the page shows calls and can replay them, so only the own machine or pod reaches it',
  ),
  token: key(
    secretText().exactOptional(),
    'Bearer token that the admin listener asks for.',
    'none is asked for, which only a loopback address may do',
  ),
});

const log = mapping({
  level: key(
    choice(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
    'From which level on log lines are written. The environment variable `HOLDLINE_LOG_LEVEL` goes before it.',
    'starts, stops, dead letters and trouble; one line per call is `debug`',
  ),
});

const telemetry = mapping({
  otlp: key(
    written(httpUrl).exactOptional(),
    'Base URL of an OTLP/HTTP receiver for traces and metrics. The `OTEL_*` environment variables work too.',
    'no traces, as they cost time and need a receiver; `/metrics` is always there',
  ),
  traceLink: key(
    written(traceLink).exactOptional(),
    'Where a trace is looked at, with `{traceId}` in the place of its id: the page and `calls show` link to it.',
    'where `otlp` is plain http, `http://HOST:16686/trace/{traceId}` with its host, as Jaeger has it; else there is no link',
  ),
  log: key(log.prefault({}), 'The log on stdout.'),
});

const shutdown = mapping({
  drain: key(
    written(wait).prefault('25s'),
    'How long SIGTERM waits for calls at hand before their callers get 503 with a `Location`.',
    'Kubernetes kills after 30 s, which leaves 5 s to close',
  ),
});

/** The file. Its output has every default; `resolve` makes a {@link Config} of it. */
export const configSchema = mapping({
  service: key(serviceName, 'Name of the service next to this sidecar.'),
  broker: key(
    brokerSchema,
    'Where events are stored: a URL (`nats://127.0.0.1:4222`, `sqlite:./data/holdline.db`), or a mapping with `url` ' +
      'and options.',
    'a guess could store calls where nobody takes them',
  ),
  outbound: key(
    outboundSchema.exactOptional(),
    'Calls that the service makes.',
    'no port opens for calls of the service',
  ),
  inbound: key(
    list(inboundSchema, 'inbound services').prefault([]),
    'Calls made to the service.',
    'a service that only calls others needs none',
  ),
  subscribe: key(
    list(subscriptionSchema, 'subscriptions').prefault([]),
    'Broadcast events, and other services’ calls, that the service wants.',
  ),
  admin: key(admin.prefault({}), 'The admin listener; always open.'),
  telemetry: key(telemetry.prefault({}), 'Traces, metrics and the log.'),
  shutdown: key(shutdown.prefault({}), 'What SIGTERM does.'),
}).meta({
  title: 'Holdline configuration',
  description: 'Configuration of a Holdline sidecar.',
});

/** A file's content that the schema has accepted. */
export type ParsedConfig = z.output<typeof configSchema>;
