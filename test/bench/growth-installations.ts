import { join } from 'node:path';
import { ManagedProcess } from '../support/managed-process.ts';
import { startNatsServer } from '../support/nats-server.ts';
import { startSidecar } from '../support/sidecar-process.ts';
import type { Generator } from './generator.ts';
import type { Point } from './growth-options.ts';
import { type Installed, sidecars } from './installations.ts';
import type { Part } from './meter.ts';
import { routes } from './subjects.ts';

const waitingPath = '/waiting';
const absent = 'ledger';

/** The routes of a caller with so many of them: the one that the calls match is the last, and the last to be tried. */
export function manyRoutes(count: number): readonly object[] {
  const others = Array.from({ length: count - 1 }, (_, index) => ({
    name: `other-${index + 1}`,
    match: { path: `/other-${index + 1}` },
    service: 'payments',
    idempotent: true,
  }));
  return [...others, ...routes.filter(({ name }) => name === 'idempotent')];
}

/**
 * Starts a broker of its own, a sidecar of the caller and one of the callee, and brings about what the point says.
 * @param url the callee
 */
export async function installPoint(
  { dimension, at }: Point,
  stack: AsyncDisposableStack,
  url: string,
  generator: Generator,
): Promise<Installed> {
  const server = stack.use(await startNatsServer());
  const held = { name: 'waiting', match: { path: waitingPath }, service: absent, mode: 'async', idempotent: true };
  const own = manyRoutes(dimension === 'routes' ? at : 1);
  const routing = dimension === 'waiting' ? [...own, held] : own;
  const { port, parts } = await sidecars(stack, server.url, { url, profiles: undefined }, {}, routing);
  const others = dimension === 'services' && at > 1 ? [await crowd(stack, server.url, at - 1, url)] : [];
  if (dimension === 'waiting') await leaveWaiting(generator, server.url, port, at, url);
  return { port, parts: [...parts, { name: 'nats-server', pid: server.pid }, ...others] };
}

async function crowd(stack: AsyncDisposableStack, broker: string, count: number, url: string): Promise<Part> {
  const child = stack.use(
    await ManagedProcess.start({
      label: 'other services',
      command: process.execPath,
      args: [join(import.meta.dirname, 'crowd-process.ts'), broker, String(count), url],
    }),
  );
  await child.printed(/^all are ready$/m);
  return { name: 'other services', pid: child.pid };
}

/** Calls that their service will not come back for while anything is measured. */
async function leaveWaiting(
  generator: Generator,
  broker: string,
  port: number,
  calls: number,
  url: string,
): Promise<void> {
  // Once it was there, so that the broker knows it as any other service.
  const sidecar = await startSidecar({ broker, service: absent, inbound: [{ url }] });
  await sidecar.terminate();
  await sidecar[Symbol.asyncDispose]();
  if (calls === 0) return;
  const load = { port, path: waitingPath, bodyBytes: 200, keyed: false, status: 202, connections: 64 };
  const { failed, failure, total } = await generator.run({ ...load, warmUpMs: 0, measureMs: 3_600_000, calls });
  if (failed > 0 || total < calls) throw new Error(`only ${total - failed} calls wait; the first failure: ${failure}`);
}
