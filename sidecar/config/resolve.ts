import { resolveBroker, resolveTls } from './broker.ts';
import { isOutside, jaegerTraceLink, listenAddress } from './addresses.ts';
import type {
  Config,
  InboundConfig,
  OutboundConfig,
  RouteConfig,
  SubscriptionConfig,
  TelemetryConfig,
} from './config.ts';
import { nameRoutes, peerOf } from './route-defaults.ts';
import type { ParsedConfig } from './schema.ts';

type Parsed<Section extends keyof ParsedConfig> = NonNullable<ParsedConfig[Section]>;

/**
 * Fills in the defaults that depend on other keys, and makes paths absolute. The parsed configuration must be coherent.
 * @param folder the file's folder, absolute
 */
export function resolveConfig(parsed: ParsedConfig, folder: string): Config {
  const { service, broker, outbound, admin, telemetry, shutdown } = parsed;
  const inbound = parsed.inbound.map((entry) => resolveInbound(entry, service, folder));
  return {
    service,
    broker: resolveBroker(broker, folder),
    ...(outbound !== undefined && { outbound: resolveOutbound(outbound, service) }),
    inbound,
    subscribe: parsed.subscribe.map((entry) => resolveSubscription(entry, inbound)),
    admin,
    telemetry: resolveTelemetry(telemetry),
    shutdown,
  };
}

function resolveTelemetry({ otlp, traceLink, log }: Parsed<'telemetry'>): TelemetryConfig {
  const link = traceLink ?? (otlp === undefined ? undefined : jaegerTraceLink(otlp));
  return { ...(otlp !== undefined && { otlp }), ...(link !== undefined && { traceLink: link }), log };
}

function resolveOutbound(outbound: Parsed<'outbound'>, service: string): OutboundConfig {
  const ports = Object.entries(outbound.ports).map(([text, host]) => ({ listen: listenAddress.parse(text), host }));
  // Who gives every host a port of its own needs no common one, and several sidecars of one machine would meet there.
  const listen = outbound.listen ?? (ports.length === 0 ? { host: '127.0.0.1', port: 4000 } : undefined);
  const hosts = Object.entries(outbound.hosts).map(([host, url]) => [host.toLowerCase(), url]);
  return {
    ...(listen !== undefined && { listen }),
    ports,
    unmatched: outbound.unmatched,
    limits: outbound.limits,
    routes: resolveRoutes(outbound.routes, service),
    hosts: Object.fromEntries(hosts),
  };
}

function resolveRoutes(routes: Parsed<'outbound'>['routes'], publisher: string): RouteConfig[] {
  const withPeers = routes.map((route) => {
    const peer = peerOf(route.match.host);
    return route.service === undefined && typeof peer === 'object' ? { ...route, ...peer } : route;
  });
  return nameRoutes(withPeers).map(({ topic, callback, ...route }) => ({
    ...route,
    // What a mode has no use for has no effect, see the remarks of a loaded file.
    ...(route.mode === 'broadcast' && { topic: topic ?? `${publisher}.${route.name}` }),
    ...(route.mode === 'async' && callback !== undefined && { callback }),
  }));
}

function resolveInbound(entry: Parsed<'inbound'>[number], service: string, folder: string): InboundConfig {
  const { tls, ...rest } = entry;
  if (tls === undefined) return { ...rest, service: entry.service ?? service };
  const { servername } = tls;
  return {
    ...rest,
    service: entry.service ?? service,
    tls: { ...resolveTls(tls, folder), ...(servername !== undefined && { servername }) },
  };
}

function resolveSubscription(
  entry: Parsed<'subscribe'>[number],
  inbound: readonly InboundConfig[],
): SubscriptionConfig {
  const { topic, call, ...delivery } = entry;
  const url = entry.url ?? inbound[0]?.url;
  if (url === undefined) throw new TypeError(`subscription ${entry.name} has no url`);
  const outside = isOutside(url) && !inbound.some((local) => local.url === url);
  if (topic !== undefined) return { ...delivery, url, outside, topic };
  if (call !== undefined) return { ...delivery, url, outside, call };
  throw new TypeError(`subscription ${entry.name} has neither topic nor call`);
}
