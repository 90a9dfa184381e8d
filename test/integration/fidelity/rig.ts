import { freePort } from '../../support/free-port.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';
import { ByteCallee } from './callee.ts';

/** The ways a call can take besides the direct one. */
export const ways = ['durable over JetStream', 'durable over SQLite', 'passthrough'] as const;
export type Way = (typeof ways)[number];

/** A callee of bytes, and two sidecars to it over each broker. Each way has a port that takes what the callee's takes. */
export interface Rig extends AsyncDisposable {
  readonly callee: ByteCallee;
  readonly port: Readonly<Record<Way | 'direct', number>>;
  /** The callers' sidecars. */
  readonly sidecars: readonly SidecarProcess[];
}

/**
 * @param route added to the durable route
 * @param inbound added to the callee's inbound entry
 */
export async function startRig(route: object = {}, inbound: object = {}): Promise<Rig> {
  const stack = new AsyncDisposableStack();
  try {
    const callee = stack.use(await ByteCallee.start());
    const nats = stack.use(await startNatsServer());
    const folder = stack.use(await createTempDir('fidelity'));
    const port = { direct: callee.port } as Record<Way | 'direct', number>;
    const start = async (way: Way, broker: string): Promise<SidecarProcess> => {
      port[way] = await freePort();
      port.passthrough ??= await freePort();
      // Every status is an ordinary answer.
      const durable = { name: 'durable', match: { host: 'payments' }, retry: { on: [] }, ...route };
      const [orders] = await Promise.all([
        startSidecar({
          service: 'orders',
          broker,
          outbound: {
            ports: {
              [`127.0.0.1:${port[way]}`]: 'payments',
              ...(way === 'durable over JetStream' && { [`127.0.0.1:${port.passthrough}`]: 'passed' }),
            },
            routes: [durable],
            hosts: { passed: callee.url },
          },
        }).then((sidecar) => stack.use(sidecar)),
        startSidecar({ service: 'payments', broker, inbound: [{ url: callee.url, ...inbound }] }).then((sidecar) =>
          stack.use(sidecar),
        ),
      ]);
      return orders;
    };
    const sidecars = [
      await start('durable over JetStream', nats.url),
      await start('durable over SQLite', `sqlite:${folder.join('holdline.db')}`),
    ];
    const owned = stack.move();
    return { callee, port, sidecars, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}
