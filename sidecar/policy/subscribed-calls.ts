import type { SubscribedCalls } from '../config/config.ts';
import type { ToldCall } from '../model/call.ts';
import { pathTest } from './route.ts';

/** Whether a subscription to finished calls wants this one of its service. Methods are case-sensitive (RFC 9110 §9.1). */
export function callTest({ method, path, status }: SubscribedCalls): (call: ToldCall) => boolean {
  const methods = method === undefined ? undefined : new Set(method);
  const matchesPath = path === undefined ? undefined : pathTest(path);
  return (call) => {
    if (methods !== undefined && !methods.has(call.method)) return false;
    if (matchesPath !== undefined && !matchesPath(call.target.replace(/\?.*$/s, ''))) return false;
    return status === undefined || status.some(({ from, to }) => call.status >= from && call.status <= to);
  };
}
