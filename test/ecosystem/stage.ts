import { freePort } from '../support/free-port.ts';
import { startNatsServer, type NatsServer } from '../support/nats-server.ts';
import { startSidecar, type SidecarProcess } from '../support/sidecar-process.ts';
import { Checkpoint, type Moment } from './checkpoint.ts';
import { ServerProgram, type ServerProgramOptions } from './server-program.ts';

/** A server, known to callers as `callee`, and everything that a call passes on its way there from a client. */
export interface Stage extends AsyncDisposable {
  readonly broker: NatsServer;
  readonly server: ServerProgram;
  /** The callers' sidecar, where HTTP_PROXY points to. */
  readonly proxy: string;
  /** A base URL: the listener that stands for `callee` alone. */
  readonly url: string;
  /** The same for `passed`, the same server; its routes can be others. */
  readonly passedUrl: string;
  /**
   * The server dies by `kill -9` while `count` requests of a kind are on their way to it, or as many answers on their way back,
   * none of which arrives, and is started again.
   * @param line is matched with a request's method and target, such as `GET /shop?rev=1`
   */
  crash(moment: Moment, line: RegExp, count?: number): Promise<void>;
}

/** Where the scenarios differ. */
export interface StageOptions extends ServerProgramOptions {
  /** Default: one route to `callee`. */
  readonly routes?: readonly object[];
}

/** On a slow machine it takes long until all requests of a scenario stand at the checkpoint. */
function patient(route: object): object {
  return 'mode' in route ? route : { hold: '2m', ...route };
}

/** Starts a server, the checkpoint before it, a broker, and the sidecars of `client` and `callee`. */
export async function startStage(options: StageOptions): Promise<Stage> {
  const stack = new AsyncDisposableStack();
  try {
    const [broker, server] = await Promise.all([
      startNatsServer().then((started) => stack.use(started)),
      ServerProgram.start(options).then((started) => stack.use(started)),
    ]);
    const checkpoint = stack.use(await Checkpoint.start(server.port));
    const own = `127.0.0.1:${await freePort()}`;
    const passed = `127.0.0.1:${await freePort()}`;
    const use = async (sidecar: Promise<SidecarProcess>) => stack.use(await sidecar);
    const [caller] = await Promise.all([
      use(
        startSidecar({
          service: 'client',
          broker: broker.url,
          outbound: {
            ports: { [own]: 'callee', [passed]: 'passed' },
            routes: (options.routes ?? [{ name: 'all', match: { host: 'callee' } }]).map(patient),
            hosts: { passed: checkpoint.url },
          },
        }),
      ),
      use(startSidecar({ service: 'callee', broker: broker.url, inbound: [{ url: checkpoint.url, timeout: '2m' }] })),
    ]);
    const owned = stack.move();
    return {
      broker,
      server,
      proxy: caller.outboundUrl,
      url: `http://${own}`,
      passedUrl: `http://${passed}`,
      async crash(moment, line, count = 1) {
        checkpoint.stop(moment, line);
        await checkpoint.stopped(count);
        await Promise.all([server.kill9(), checkpoint.close()]);
        await server.start();
        await checkpoint.open();
      },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}
