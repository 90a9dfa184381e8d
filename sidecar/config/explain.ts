import { listenAddress } from './addresses.ts';
import type { BrokerConfig, Config, InboundConfig, OutboundConfig, RouteConfig, SubscriptionConfig } from './config.ts';
import { callTarget, orderKey, statusRange, subscriptionStart } from './requests.ts';
import { duration, durationRange, rate, size } from './units.ts';

/** What stands in place of a secret. */
const mask = '***';

/** A plain value, as in JSON. */
type Plain = string | number | boolean | readonly Plain[] | { readonly [key: string]: Plain };
type PlainMapping = { readonly [key: string]: Plain };

/**
 * The configuration as it would be written in full: every default there, durations and sizes as people write them,
 * secrets masked. Without masked values it can be loaded again and means the same.
 */
export function explain(config: Config): PlainMapping {
  const { service, broker, outbound, inbound, subscribe, admin, telemetry, shutdown } = config;
  return {
    service,
    broker: explainBroker(broker),
    ...(outbound && { outbound: explainOutbound(outbound) }),
    inbound: inbound.map(explainInbound),
    subscribe: subscribe.map(explainSubscription),
    admin: { listen: listenAddress.format(admin.listen), ...(admin.token !== undefined && { token: mask }) },
    telemetry: {
      ...(telemetry.otlp !== undefined && { otlp: maskUrl(telemetry.otlp) }),
      ...(telemetry.traceLink !== undefined && { traceLink: maskUrl(telemetry.traceLink) }),
      log: { level: telemetry.log.level },
    },
    shutdown: { drain: duration.format(shutdown.drain) },
  };
}

function explainBroker(broker: BrokerConfig): PlainMapping {
  const { responses, keyed, broadcasts, deadLetters } = broker.retention;
  const retention = {
    responses: duration.format(responses),
    keyed: duration.format(keyed),
    broadcasts: duration.format(broadcasts),
    deadLetters: duration.format(deadLetters),
  };
  if (broker.kind === 'sqlite') return { url: `sqlite:${broker.file}`, namespace: broker.namespace, retention };
  return {
    url: broker.servers.map(maskUrl).join(','),
    ...(broker.credentials !== undefined && { credentials: mask }),
    ...(broker.tls && { tls: { ...broker.tls } }),
    namespace: broker.namespace,
    replicas: broker.replicas,
    retention,
  };
}

function explainOutbound({ listen, ports, unmatched, limits, routes, hosts }: OutboundConfig): PlainMapping {
  return {
    ...(listen && { listen: listenAddress.format(listen) }),
    ports: Object.fromEntries(ports.map((port) => [listenAddress.format(port.listen), port.host])),
    unmatched,
    limits: { held: limits.held, heldBytes: size.format(limits.heldBytes) },
    routes: routes.map(explainRoute),
    hosts: Object.fromEntries(Object.entries(hosts).map(([host, url]) => [host, maskUrl(url)])),
  };
}

function explainRoute(route: RouteConfig): PlainMapping {
  const { host, method, path } = route.match;
  return {
    name: route.name,
    match: { ...(host !== undefined && { host }), ...(method && { method }), ...(path !== undefined && { path }) },
    ...(route.service !== undefined && { service: route.service }),
    mode: route.mode,
    ...(route.topic !== undefined && { topic: route.topic }),
    hold: duration.format(route.hold),
    onHoldExpired: route.onHoldExpired,
    deadline: duration.format(route.deadline),
    ...(route.idempotent !== undefined && { idempotent: route.idempotent }),
    idempotencyKey: route.idempotencyKey,
    retry: explainRetry(route.retry),
    ...(route.orderBy && { orderBy: orderKey.format(route.orderBy) }),
    ...(route.callback && { callback: callTarget.format(route.callback) }),
    maxBody: size.format(route.maxBody),
    onBrokerDown: route.onBrokerDown,
  };
}

function explainRetry({ attempts, backoff, on }: SubscriptionConfig['retry']): PlainMapping {
  return { attempts, backoff: durationRange.format(backoff), ...(on && { on }) };
}

function explainInbound(inbound: InboundConfig): PlainMapping {
  const { health } = inbound;
  return {
    service: inbound.service,
    url: maskUrl(inbound.url),
    ...(inbound.tls && { tls: { ...inbound.tls } }),
    concurrency: inbound.concurrency,
    ...(inbound.rate && { rate: rate.format(inbound.rate) }),
    timeout: duration.format(inbound.timeout),
    ...(health && { health: { path: health.path, interval: duration.format(health.interval) } }),
    publishCalls: inbound.publishCalls,
  };
}

function explainSubscription(subscription: SubscriptionConfig): PlainMapping {
  const { name, filter, orderBy, to, from, url, retry, timeout, secret, allowPrivate } = subscription;
  return {
    name,
    ...(subscription.call ? { call: explainCalls(subscription.call) } : { topic: subscription.topic }),
    ...(filter !== undefined && { filter }),
    ...(orderBy && { orderBy: orderKey.format(orderBy) }),
    to: callTarget.format(to),
    from: subscriptionStart.format(from),
    url: maskUrl(url),
    retry: explainRetry(retry),
    timeout: duration.format(timeout),
    ...(subscription.rate && { rate: rate.format(subscription.rate) }),
    ...(secret !== undefined && { secret: secret.length === 1 ? mask : secret.map(() => mask) }),
    allowPrivate,
  };
}

function explainCalls({ service, method, path, status }: NonNullable<SubscriptionConfig['call']>): PlainMapping {
  return {
    service,
    ...(method && { method }),
    ...(path !== undefined && { path }),
    ...(status && { status: status.map((range) => statusRange.format(range)) }),
  };
}

/** A user without a password is masked too: NATS takes a token there. */
function maskUrl(url: string): string {
  const [, scheme, user, password, rest] = /^([a-z]+:\/\/)([^@/:]*)(:[^@/]*)?@(.*)$/is.exec(url) ?? [];
  if (rest === undefined) return url;
  return `${scheme}${password === undefined ? mask : `${user}:${mask}`}@${rest}`;
}
