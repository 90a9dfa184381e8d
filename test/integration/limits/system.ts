import { eventually } from '../../support/eventually.ts';
import { request } from '../../support/http-client.ts';
import { startNatsServer } from '../../support/nats-server.ts';
import { type SidecarProcess, startSidecar } from '../../support/sidecar-process.ts';
import { createTempDir } from '../../support/temp-dir.ts';

/** A broker for the sidecars of one test; it goes away with the stack. Resolves with its URL. */
type OpenBroker = (stack: AsyncDisposableStack) => Promise<string>;

export const brokers: readonly { readonly name: string; readonly open: OpenBroker }[] = [
  { name: 'JetStream', open: async (stack) => stack.use(await startNatsServer()).url },
  {
    name: 'SQLite',
    open: async (stack) => `sqlite:${stack.use(await createTempDir('limits')).join('holdline.db')}`,
  },
];

/** The sidecars of `orders`, who calls, and of `payments`, who is called, on one broker. */
export interface System extends AsyncDisposable {
  readonly broker: string;
  readonly orders: SidecarProcess;
  readonly payments: SidecarProcess;
}

/** What a test wants to be different. */
export interface SystemOptions {
  readonly open: OpenBroker;
  /** Where the callee is. */
  readonly url: string;
  readonly outbound?: object;
  readonly route?: object;
  readonly inbound?: object;
}

export async function startSystem({ open, url, outbound, route, inbound }: SystemOptions): Promise<System> {
  const stack = new AsyncDisposableStack();
  try {
    const broker = await open(stack);
    const orders = stack.use(
      await startSidecar({
        service: 'orders',
        broker,
        outbound: { routes: [{ name: 'charge', match: { host: 'payments' }, hold: '20m', ...route }], ...outbound },
      }),
    );
    const payments = stack.use(await startSidecar({ service: 'payments', broker, inbound: [{ url, ...inbound }] }));
    const owned = stack.move();
    return { broker, orders, payments, [Symbol.asyncDispose]: () => owned.disposeAsync() };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** How many callers a sidecar keeps waiting now. */
async function heldBy(sidecar: SidecarProcess): Promise<number> {
  const { status, text } = await request(`${sidecar.adminUrl}/ready`, { timeoutMs: 20_000 });
  if (status !== 200) throw new Error(`/ready says ${status} ${text}`);
  return (JSON.parse(text) as { outbound: { held: number } }).outbound.held;
}

export async function holds(sidecar: SidecarProcess, count: number, timeoutMs?: number): Promise<void> {
  const check = async () => {
    const held = await heldBy(sidecar);
    if (held !== count) throw new Error(`${held} are held`);
  };
  await eventually(check, { what: `${count} callers to be held`, ...(timeoutMs !== undefined && { timeoutMs }) });
}

/** Asks a sidecar over and over whether it is ready, for as long as something goes on. */
export interface Vigil {
  /** Ends it. @throws Error with the first answer that was not 200, or when nothing was ever answered */
  end(): Promise<void>;
}

export function keepAskingReady(...sidecars: readonly SidecarProcess[]): Vigil {
  const over = new AbortController();
  let asked = 0;
  const failures: Error[] = [];
  const ask = async (sidecar: SidecarProcess) => {
    while (!over.signal.aborted && failures.length === 0) {
      try {
        await heldOrReady(sidecar);
        asked++;
      } catch (error) {
        failures.push(error as Error);
      }
    }
  };
  const asking = Promise.all(sidecars.map(ask));
  return {
    async end() {
      over.abort();
      await asking;
      if (failures.length > 0) throw new Error('a sidecar was not ready meanwhile', { cause: failures[0] });
      if (asked < sidecars.length) throw new Error('nobody was asked');
    },
  };
}

async function heldOrReady(sidecar: SidecarProcess): Promise<void> {
  const { status, text } = await request(`${sidecar.adminUrl}/ready`, { timeoutMs: 20_000 });
  if (status !== 200) throw new Error(`${sidecar.adminUrl}/ready says ${status} ${text}`);
  // Asking is not to be the load.
  await new Promise((resolve) => setTimeout(resolve, 100));
}
