import { startNatsServer, type NatsServer } from '../../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../../support/sidecar-process.ts';
import { startUpstream, type Answer, type Handler, type Upstream } from '../../support/upstream.ts';
import { freePort } from '../../support/free-port.ts';

/** A caller's sidecar, a callee's sidecar, a callee and a broker: everything that one call passes. */
export interface Pair extends AsyncDisposable {
  readonly server: NatsServer;
  readonly upstream: Upstream;
  readonly orders: SidecarProcess;
  readonly payments: SidecarProcess;
  /** The listener that stands for `payments` alone. */
  readonly port: string;
}

/**
 * @param route added to the one route to `payments`
 * @param inbound added to the callee's inbound entry
 */
export async function startPair(answer: Answer | Handler, route: object = {}, inbound: object = {}): Promise<Pair> {
  const stack = new AsyncDisposableStack();
  try {
    const server = stack.use(await startNatsServer());
    const upstream = stack.use(await startUpstream(answer));
    const port = `127.0.0.1:${await freePort()}`;
    const orders = stack.use(
      await startSidecar({
        service: 'orders',
        broker: server.url,
        outbound: {
          ports: { [port]: 'payments' },
          routes: [{ name: 'charge', match: { host: 'payments' }, ...route }],
        },
      }),
    );
    const payments = stack.use(
      await startSidecar({ service: 'payments', broker: server.url, inbound: [{ url: upstream.url, ...inbound }] }),
    );
    const owned = stack.move();
    return {
      server,
      upstream,
      orders,
      payments,
      port: `http://${port}`,
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}
