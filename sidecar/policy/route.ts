import type { RouteConfig } from '../config/config.ts';

/** What a route is chosen by. */
export interface RoutedRequest {
  /** Lower-cased, without its port; an IPv6 address in brackets. */
  readonly host: string;
  /** As written, else the scheme's default. */
  readonly port: number;
  readonly method: string;
  /** Raw: the request target without its query, never normalised. */
  readonly path: string;
}

/** The route of a request and, where there is one, the name of its callee. */
export interface Routed {
  readonly route: RouteConfig;
  /** The route's `service`, else the request's host name where that can be the name of a service. */
  readonly service: string | undefined;
}

/** Finds the route of a request; undefined when none matches. */
export type Router = (request: RoutedRequest) => Routed | undefined;

type Test = (value: string) => boolean;

interface CompiledRoute {
  readonly route: RouteConfig;
  readonly host: Test | undefined;
  readonly port: number | undefined;
  readonly methods: ReadonlySet<string> | undefined;
  readonly path: Test | undefined;
}

/**
 * Compiles routes once; the first that matches wins.
 *
 * Hosts are compared without case and on any port, unless the pattern names one. In a pattern `*` stands for one
 * segment (of a host: one label) or a part of it, `**` for any number of them, none included.
 */
export function compileRoutes(routes: readonly RouteConfig[]): Router {
  const compiled = routes.map(compile);
  return (request) => {
    for (const { route, host, port, methods, path } of compiled) {
      if (methods !== undefined && !methods.has(request.method)) continue;
      if (port !== undefined && port !== request.port) continue;
      if (host !== undefined && !host(request.host)) continue;
      if (path !== undefined && !path(request.path)) continue;
      return { route, service: route.service ?? (isServiceName(request.host) ? request.host : undefined) };
    }
    return undefined;
  };
}

const serviceName = /^[a-z][a-z0-9-]{0,62}$/;

/** Whether a host name can be the name of a service (contract, section 1). */
export function isServiceName(host: string): boolean {
  return serviceName.test(host);
}

/** The callees that durable routes name in advance, each once. */
export function knownCallees(routes: readonly RouteConfig[]): string[] {
  const names = new Set<string>();
  for (const { mode, service, match } of routes) {
    if (mode !== 'await' && mode !== 'async') continue;
    const name = service ?? match.host?.toLowerCase().replace(/:\d+$/, '');
    if (name !== undefined && isServiceName(name)) names.add(name);
  }
  return [...names];
}

function compile(route: RouteConfig): CompiledRoute {
  const { host, method, path } = route.match;
  const [, name, port] = /^(.*?)(?::(\d+))?$/.exec(host?.toLowerCase() ?? '') ?? [];
  return {
    route,
    host: host === undefined || name === undefined ? undefined : testOf(name, '.'),
    port: port === undefined ? undefined : Number(port),
    methods: method === undefined ? undefined : new Set(method),
    path: path === undefined ? undefined : testOf(path, '/'),
  };
}

/** Whether the host name of a request, lower-cased, fits the host of a route. */
export function hostTest(pattern: string): (name: string) => boolean {
  return testOf(pattern.toLowerCase().replace(/:\d+$/, ''), '.');
}

/** Compiles a path or pattern of the configuration. */
export function pathTest(pattern: string): (path: string) => boolean {
  return testOf(pattern, '/');
}

function testOf(pattern: string, separator: '.' | '/'): Test {
  if (!pattern.includes('*')) return (value) => value === pattern;
  const expression = globExpression(pattern, separator);
  return (value) => expression.test(value);
}

function globExpression(pattern: string, separator: '.' | '/'): RegExp {
  const sep = separator === '.' ? String.raw`\.` : '/';
  const part = `[^${sep}]`;
  let source = '';
  for (let at = 0; at < pattern.length;) {
    const rest = pattern.slice(at);
    const startsSegment = at === 0 || pattern[at - 1] === separator;
    if (rest.startsWith(`${separator}**`) && endsSegment(rest, 3, separator)) {
      source += `(?:${sep}.*)?`;
      at += 3;
    } else if (at === 0 && rest.startsWith(`**${separator}`)) {
      source += `(?:.*${sep})?`;
      at += 3;
    } else if (rest.startsWith('**')) {
      source += '.*';
      at += 2;
    } else if (rest.startsWith('*')) {
      // Alone it stands for a segment that is there; inside one, for the rest of it, which may be nothing.
      source += startsSegment && endsSegment(rest, 1, separator) ? `${part}+` : `${part}*`;
      at += 1;
    } else {
      source += rest[0]!.replace(/[\\^$.|?+()[\]{}]/, String.raw`\$&`);
      at += 1;
    }
  }
  return new RegExp(`^${source}$`, 's');
}

function endsSegment(text: string, at: number, separator: string): boolean {
  return text.length === at || text[at] === separator;
}
