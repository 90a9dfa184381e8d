import { collide, hostPattern, isLoopback, listenAddress } from './addresses.ts';
import type { ListenAddress, RouteMode } from './config.ts';
import type { Path } from './document.ts';
import type { Problem } from './issues.ts';
import { callsLookedAt, FilterError, readFilter } from '../model/filter.ts';
import { NotationError } from './notation.ts';
import { peerOf } from './route-defaults.ts';
import { routeModes } from './routes.ts';

/**
 * What no key can tell alone. These checks read the plain values of the file, not what the schema made of them, so
 * that they speak up even while other keys are wrong; what is not of the expected kind is the schema's to report.
 */
export function checkCoherence(config: unknown): Problem[] {
  const root = mapOf(config);
  if (root === undefined) return [];
  return [
    ...checkPurpose(root),
    ...checkBroker(mapOf(root['broker'])),
    ...mapsOf(mapOf(root['outbound'])?.['routes']).flatMap(([route, index]) =>
      checkRoute(route, ['outbound', 'routes', index], root),
    ),
    ...checkHosts(mapOf(mapOf(root['outbound'])?.['hosts']) ?? {}),
    ...mapsOf(root['inbound']).flatMap(([entry, index]) => checkInbound(entry, ['inbound', index])),
    ...mapsOf(root['subscribe']).flatMap(([entry, index]) => checkSubscription(entry, ['subscribe', index], root)),
    ...checkUnique(root['inbound'], 'inbound', 'service', root['service']),
    ...checkUnique(mapOf(root['outbound'])?.['routes'], 'outbound.routes', 'name'),
    ...checkUnique(root['subscribe'], 'subscribe', 'name'),
    ...checkListeners(root),
    ...checkAdmin(root),
  ];
}

type Mapping = Record<string, unknown>;

function mapOf(value: unknown): Mapping | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Mapping) : undefined;
}

/** The mappings of a list, each with its place in it. */
function mapsOf(value: unknown): [entry: Mapping, index: number][] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((entry: unknown, index): [Mapping, number][] => {
    const map = mapOf(entry);
    return map === undefined ? [] : [[map, index]];
  });
}

/** Whether some inbound entry has a url. */
function hasInboundUrl(root: Mapping): boolean {
  return mapsOf(root['inbound']).some(([entry]) => entry['url'] !== undefined);
}

/** Whether this sidecar takes the calls that are made to its own service. */
function isCallee(root: Mapping): boolean {
  return mapsOf(root['inbound']).some(
    ([entry]) => entry['url'] !== undefined && (entry['service'] ?? root['service']) === root['service'],
  );
}

function wrong(path: Path, message: string, at: Problem['at'] = 'value'): Problem {
  return { path, at, message };
}

function checkPurpose(root: Mapping): Problem[] {
  const idle = ['inbound', 'subscribe'].every((section) => {
    const value = root[section];
    return value === undefined || (Array.isArray(value) && value.length === 0);
  });
  // An operator's page is purpose enough, where it is asked for.
  if (!idle || root['outbound'] !== undefined || root['admin'] !== undefined) return [];
  return [
    wrong(
      [],
      'this sidecar would have nothing to do; expected outbound, inbound, subscribe, or admin for a page alone',
    ),
  ];
}

function checkBroker(broker: Mapping | undefined): Problem[] {
  if (broker === undefined) return [];
  const problems = checkTls(mapOf(broker['tls']), ['broker', 'tls']);
  const url = broker['url'];
  if (typeof url !== 'string' || !url.startsWith('sqlite:')) return problems;
  const strange = ['credentials', 'tls', 'replicas'].filter((key) => broker[key] !== undefined);
  return strange.map((key) =>
    wrong(['broker', key], 'means nothing to SQLite; expected only with a nats:// url', 'key'),
  );
}

function checkTls(tls: Mapping | undefined, path: Path): Problem[] {
  if (tls === undefined || (tls['cert'] === undefined) === (tls['key'] === undefined)) return [];
  const [there, missing] = tls['cert'] === undefined ? ['key', 'cert'] : ['cert', 'key'];
  return [wrong([...path, there], `comes without ${missing}; expected both or neither`, 'key')];
}

function checkRoute(route: Mapping, path: Path, root: Mapping): Problem[] {
  const problems: Problem[] = [];
  // A mode that is not known has its own error.
  const mode = route['mode'] === undefined ? 'await' : routeModes.find((known) => known === route['mode']);
  const only = (key: string, modes: readonly RouteMode[], otherwise: string): Problem[] => {
    if (route[key] === undefined || mode === undefined || modes.includes(mode)) return [];
    const expected = `expected only with mode: ${modes.join(' or ')}`;
    return [wrong([...path, key], `${otherwise} with mode: ${mode}; ${expected}`, 'key')];
  };
  problems.push(...only('orderBy', ['await', 'async'], 'keeps no order'));
  // The contract shows both keys on a route with mode: await, so a file that has them there is valid.
  const idle = [...only('callback', ['async'], 'is never called'), ...only('topic', ['broadcast'], 'means nothing')];
  problems.push(...idle.map((problem) => ({ ...problem, isHarmless: true as const })));

  if (route['callback'] !== undefined && mode === 'async' && !isCallee(root)) {
    problems.push(
      wrong([...path, 'callback'], 'has nowhere to go; expected an inbound entry with the url of this service'),
    );
  }

  const host = mapOf(route['match'])?.['host'];
  const isDurable = mode === 'await' || mode === 'async';
  const isHost = typeof host === 'string' && hostPattern.pattern.test(host);
  if (isDurable && route['service'] === undefined && isHost && peerOf(host) === 'impossible') {
    const message = `"${host}" cannot be the name of a service; expected the peer’s name in service, or a host such as payments`;
    problems.push(wrong([...path, 'match', 'host'], message));
  }
  return problems;
}

function checkHosts(hosts: Mapping): Problem[] {
  const seen = new Set<string>();
  return Object.keys(hosts).flatMap((host) => {
    const name = host.toLowerCase();
    if (seen.has(name)) {
      return [wrong(['outbound', 'hosts', host], 'is already there in other case; expected each host once', 'key')];
    }
    seen.add(name);
    return [];
  });
}

function checkInbound(entry: Mapping, path: Path): Problem[] {
  const problems = checkTls(mapOf(entry['tls']), [...path, 'tls']);
  const url = entry['url'];
  if (entry['tls'] !== undefined && typeof url === 'string' && /^http:/i.test(url)) {
    problems.push(wrong([...path, 'tls'], 'means nothing to an http url; expected only with https', 'key'));
  }
  return problems;
}

function checkSubscription(entry: Mapping, path: Path, root: Mapping): Problem[] {
  const problems: Problem[] = [];
  if (entry['topic'] !== undefined && entry['call'] !== undefined) {
    problems.push(wrong([...path, 'call'], 'stands beside topic; expected one of the two', 'key'));
  }
  if (entry['topic'] === undefined && entry['call'] === undefined) {
    problems.push(wrong(path, 'wants nothing; expected topic or call'));
  }
  problems.push(...checkFilter(entry, path));
  if (entry['url'] === undefined && !hasInboundUrl(root)) {
    problems.push(wrong(path, 'has nowhere to deliver to; expected url here, or an inbound entry with one'));
  }
  return problems;
}

/** Only the events of a call feed tell of a call. */
function checkFilter({ filter, call }: Mapping, path: Path): Problem[] {
  if (typeof filter !== 'string' || call !== undefined) return [];
  let looked;
  try {
    looked = callsLookedAt(readFilter(filter));
  } catch (error) {
    if (error instanceof FilterError) return []; // the schema's to report
    throw error;
  }
  if (looked.length === 0) return [];
  const message = `looks at ${looked.join(', ')}, which only a subscription with call has; expected topic, publisher, headers, body`;
  return [wrong([...path, 'filter'], message)];
}

function checkUnique(entries: unknown, section: string, key: string, fallback?: unknown): Problem[] {
  const first = new Map<unknown, number>();
  return mapsOf(entries).flatMap(([entry, index]) => {
    const value = entry[key] ?? fallback;
    if (typeof value !== 'string') return [];
    const earlier = first.get(value);
    if (earlier === undefined) {
      first.set(value, index);
      return [];
    }
    const message = `"${value}" is already the ${key} of ${section}[${earlier}]; expected each ${key} once`;
    return [wrong([...section.split('.'), index, key], message)];
  });
}

interface Listener {
  readonly address: ListenAddress;
  readonly path: Path;
  readonly label: string;
  readonly at: Problem['at'];
}

function listenerOf(text: unknown, path: Path, label: string, at: Problem['at'] = 'value'): Listener[] {
  if (typeof text !== 'string') return [];
  try {
    return [{ address: listenAddress.parse(text), path, label, at }];
  } catch (error) {
    if (error instanceof NotationError) return []; // the schema's to report
    throw error;
  }
}

function adminListener(root: Mapping): Listener[] {
  return listenerOf(mapOf(root['admin'])?.['listen'] ?? '127.0.0.1:4900', ['admin', 'listen'], 'admin.listen');
}

function checkListeners(root: Mapping): Problem[] {
  const outbound = mapOf(root['outbound']);
  const ports = Object.keys(mapOf(outbound?.['ports']) ?? {});
  const listen = outbound?.['listen'] ?? (outbound !== undefined && ports.length === 0 ? '127.0.0.1:4000' : undefined);
  const listeners = [
    ...listenerOf(listen, ['outbound', 'listen'], 'outbound.listen'),
    ...ports.flatMap((text) => listenerOf(text, ['outbound', 'ports', text], `outbound.ports["${text}"]`, 'key')),
    ...adminListener(root),
  ];
  return listeners.flatMap(({ address, path, at }, index) => {
    const earlier = listeners.slice(0, index).find((other) => collide(other.address, address));
    if (earlier === undefined) return [];
    const message = `${listenAddress.format(address)} is taken by ${earlier.label}; expected an address of its own`;
    return [wrong(path, message, at)];
  });
}

function checkAdmin(root: Mapping): Problem[] {
  const [listener] = adminListener(root);
  if (listener === undefined || isLoopback(listener.address) || mapOf(root['admin'])?.['token'] !== undefined)
    return [];
  const message = 'can be reached from other machines; expected a token in admin.token, or a loopback address';
  return [wrong(['admin', 'listen'], message)];
}
