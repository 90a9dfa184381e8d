import type { RouteConfig } from './config.ts';
import { servicePattern } from './words.ts';

/**
 * The peer that a matched host stands for, where the route names none: `each` request's own host where the host is a
 * pattern or absent, `impossible` where it is exact and no name of a service.
 */
export function peerOf(host: string | undefined): { readonly service: string } | 'each' | 'impossible' {
  if (host === undefined || host.includes('*')) return 'each';
  const name = host.toLowerCase().replace(/:\d+$/, '');
  return servicePattern.test(name) ? { service: name } : 'impossible';
}

/**
 * Readable names for routes without one, made of what they match and not of their place, so that a route that is
 * moved keeps its metrics: `payments-post-charges`. Names already given are never used again.
 */
export function nameRoutes<R extends Pick<RouteConfig, 'match' | 'service' | 'mode'> & { readonly name?: string }>(
  routes: readonly R[],
): (R & { readonly name: string })[] {
  const taken = new Set(routes.map(({ name }) => name));
  return routes.map((route) => {
    if (route.name !== undefined) return { ...route, name: route.name };
    const base = derivedName(route);
    let name = base;
    for (let count = 2; taken.has(name); count++) name = `${base}-${count}`;
    taken.add(name);
    return { ...route, name };
  });
}

function derivedName({ match, service, mode }: Pick<RouteConfig, 'match' | 'service' | 'mode'>): string {
  const parts = [service ?? match.host ?? '', ...(match.method ?? []), match.path ?? ''];
  const words = parts
    .join('-')
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '');
  // Room for a number that makes it unique.
  return (words === '' ? mode : words).slice(0, 56).replace(/-+$/, '');
}
